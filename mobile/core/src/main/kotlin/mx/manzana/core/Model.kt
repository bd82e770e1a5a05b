/** What the app knows of petitions and of its phone: plain values, no words for people, no bindings. */
package mx.manzana.core

/** In which role a person acts. */
enum class Role { BLOCK_CAPTAIN, CREW, OPERATOR, SUPERVISOR, AGENCY_DESK, COORDINATOR, AUDITOR, ADMINISTRATOR, CITIZEN }

/** The state of the connection. */
enum class Connection { STOPPED, OFFLINE, CONNECTING, ONLINE, REFUSED, UNTRUSTED, UNKNOWN }

/** Where a petition has safely arrived: each says more than the one before. */
enum class Custody { ON_THIS_PHONE, COPIED_TO_ANOTHER, RECEIVED, ACCEPTED_BY_AGENCY }

/** Where a petition stands. */
enum class Status { PENDING, REFERRED, IN_PROGRESS, DONE, NOT_APPLICABLE }

/** How a petition ends. */
enum class Outcome { DONE, NOT_APPLICABLE }

/** A step in the life of a petition. */
enum class EventKind {
    RECORDED, REFERRED, ACCEPTED, REFERRAL_PROPOSED, ASSIGNED, STARTED, NOT_YET, DONE, NOT_APPLICABLE,
    FINAL_STATE, REOPENED, CITIZEN_CONFIRMED, CITIZEN_DISPUTED,
}

/** What a screen can do about a failure. */
enum class Category { OFFLINE, UNAUTHORISED, REJECTED, CONFLICT, STORAGE, CANCELLED, INTERNAL, UNKNOWN }

/** What exactly went wrong. */
enum class Code {
    NOT_ENROLLED, ALREADY_ENROLLED, IN_USE, BAD_INVITATION, OFFLINE, UNTRUSTED, UNAUTHORISED, OTHER_VERSION,
    DENIED, UNCHANGED, NOT_FOUND, AMBIGUOUS, BAD_EXPORT, STORAGE_FULL, STORAGE_DAMAGED, STORAGE_NEWER,
    STORAGE_RESCUED, STORAGE_FORGOTTEN, STORAGE_FAILED, CANCELLED, INTERNAL,
}

/** A rule that a change is against. */
enum class Rule {
    BAD_CHANGE, FOREIGN_ACTOR, BAD_SEQUENCE, BAD_DOC_ID, DOCUMENT_FULL, FORBIDDEN_OPERATION, BAD_RECORD,
    FOREIGN_RECORD, BLIND_WRITE, BAD_VALUE, ROLE_MAY_NOT, OUT_OF_SCOPE, ALREADY_FINAL, ALREADY_CLOSED, IN_CONFLICT,
    NOT_CLOSED, NEWER_SCHEMA, UNKNOWN_DOCUMENT, FOREIGN_GRANT, NOT_TAKEN, TAKEN_OVER, UNKNOWN,
}

/** Why something failed: screens look at this, never at a text. */
data class Problem(val category: Category, val code: Code, val rule: Rule? = null, val field: String? = null)

/** A call that failed; nothing of it was kept. */
class PhoneFailure(val problem: Problem) : Exception(problem.toString())

/** This phone's user. */
data class Me(val role: Role, val display: String, val center: String)

/** The phone at a glance. Times are milliseconds UTC. */
data class PhoneStatus(
    val me: Me?,
    val connection: Connection,
    val unsent: Long = 0,
    val oldestUnsent: Long? = null,
    val toCorrect: Int = 0,
    val bytes: Long = 0,
    /** Since when the city takes back what its machine lost; no folio is issued meanwhile. */
    val recoveringSince: Long? = null,
)

/** An entry of a catalog; a service's parent is its agency. */
data class Entry(val id: Int, val name: String, val parent: Int? = null)

/** The catalogs that the capture form offers. */
data class Catalogs(
    val agencies: List<Entry> = emptyList(),
    val services: List<Entry> = emptyList(),
    val neighborhoods: List<Entry> = emptyList(),
)

/** A petition as a list shows it. */
data class Petition(
    val id: String,
    val folio: String?,
    val provisionalFolio: String,
    val title: String,
    val location: String = "",
    val neighborhood: String? = null,
    val service: String? = null,
    val agencies: List<String> = emptyList(),
    val status: Status = Status.PENDING,
    val unconfirmed: Boolean = false,
    val conflict: Boolean = false,
    val custody: Custody = Custody.ON_THIS_PHONE,
    val unsent: Int = 0,
    val capturedHere: Boolean = true,
    val capturedAt: Long,
    val comments: Int = 0,
)

/** One petition in full. */
data class PetitionDetail(
    val petition: Petition,
    val description: String,
    val history: List<HistoryEntry>,
    val comments: List<CommentEntry> = emptyList(),
    val conflicts: List<Conflict> = emptyList(),
    val allowed: Set<EventKind> = emptySet(),
)

/** A step as it was recorded. */
data class HistoryEntry(
    val id: String,
    val kind: EventKind,
    val mine: Boolean,
    val role: Role,
    val at: Long,
    val agency: String? = null,
    val reason: String? = null,
    val nextAt: Long? = null,
    val note: String? = null,
    val outcome: Outcome? = null,
)

/** A comment. */
data class CommentEntry(val id: String, val mine: Boolean, val role: Role, val at: Long, val text: String)

/** Two steps that cannot both stand: one's own first, else the older one. */
data class Conflict(val one: HistoryEntry, val other: HistoryEntry)

/** What a person captures. */
data class CaptureForm(
    val title: String,
    val description: String,
    val agency: Entry? = null,
    val service: Entry? = null,
    val neighborhood: Entry? = null,
    val street: String = "",
    val cross1: String = "",
    val cross2: String = "",
)

/** A step as a person states it. */
data class Step(
    val kind: EventKind,
    val reason: String? = null,
    val note: String? = null,
    val agency: Entry? = null,
)

/** Something in "Por corregir". */
data class ToCorrect(val act: String, val what: KeptAct, val petitions: List<String>, val rule: Rule, val field: String?)

/** What a person did, as it was kept. */
sealed interface KeptAct {
    data class Capture(val title: String) : KeptAct
    data class Did(val kind: EventKind) : KeptAct
    data class Comment(val text: String) : KeptAct
    data object Correction : KeptAct
    data object Other : KeptAct
}
