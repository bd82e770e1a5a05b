/** A phone without a network or files, for tests of screens and presenters. */
package mx.manzana.core

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.map

/** Holds what a test puts there, and does what it is told as the policy of a captain or crew would. */
class FakePhone(var me: Me?, reports: List<PetitionDetail> = emptyList(), private val now: () -> Long = { 0 }) : Phone {
    private val version = MutableStateFlow(0)
    private val reports = reports.toMutableList()
    private var waiting = emptyList<ToCorrect>()
    private var offered = Catalogs()
    private var recoveringSince: Long? = null

    /** The next call that writes fails with this. */
    var failing: Problem? = null
    var connection = Connection.OFFLINE
        private set

    override val changes: Flow<Unit> = version.map { }

    /** Something comes in from elsewhere. */
    fun arrive(
        reports: List<PetitionDetail> = this.reports.toList(),
        waiting: List<ToCorrect> = this.waiting,
        connection: Connection = this.connection,
        catalogs: Catalogs = offered,
        recoveringSince: Long? = this.recoveringSince,
    ) {
        this.reports.clear()
        this.reports += reports
        this.waiting = waiting
        this.connection = connection
        offered = catalogs
        this.recoveringSince = recoveringSince
        changed()
    }

    override suspend fun enrol(invitation: String): Me {
        failIfTold()
        return Me(Role.BLOCK_CAPTAIN, "Rosa Toledo", "Coatzatel").also { me = it }
    }

    override suspend fun status(): PhoneStatus {
        val unsent = reports.filter { it.petition.unsent > 0 }
        return PhoneStatus(
            me, connection, unsent.sumOf { it.petition.unsent }.toLong(),
            unsent.minOfOrNull { it.petition.capturedAt }, waiting.size, recoveringSince = recoveringSince,
        )
    }

    override suspend fun list() = reports.map { it.petition }

    override suspend fun detail(id: String) = reports.find { it.petition.id == id }

    override suspend fun catalogs() = offered

    override suspend fun capture(form: CaptureForm): String {
        failIfTold()
        val id = "captured-${reports.size}"
        val step = HistoryEntry(id, EventKind.RECORDED, true, Role.BLOCK_CAPTAIN, now())
        val petition = Petition(
            id, null, "K7Q2M9XA", form.title, form.street, form.neighborhood?.name, form.service?.name,
            listOfNotNull(form.agency?.name), unsent = 1, capturedAt = now(),
        )
        reports.add(0, PetitionDetail(petition, form.description, listOf(step)))
        changed()
        return id
    }

    override suspend fun act(id: String, step: Step) {
        failIfTold()
        change(id) {
            val entry = HistoryEntry("step-${it.history.size}", step.kind, true, me!!.role, now(), step.agency?.name, step.reason, note = step.note)
            it.copy(history = it.history + entry, allowed = it.allowed - step.kind)
        }
    }

    override suspend fun comment(id: String, text: String) {
        failIfTold()
        change(id) {
            it.copy(comments = it.comments + CommentEntry("comment-${it.comments.size}", true, me!!.role, now(), text))
        }
    }

    override suspend fun toCorrect() = waiting

    override suspend fun resend(act: String) = closeCorrection(act)

    override suspend fun closeCorrection(act: String) {
        failIfTold()
        waiting = waiting.filter { it.act != act }
        changed()
    }

    override suspend fun startSync() = Unit

    override suspend fun stopSync() = Unit

    override fun notifyNetwork() = Unit

    override suspend fun shutDown() = Unit

    private fun change(id: String, how: (PetitionDetail) -> PetitionDetail) {
        reports.replaceAll { if (it.petition.id == id) how(it) else it }
        changed()
    }

    private fun changed() {
        version.value++
    }

    private fun failIfTold() {
        val problem = failing ?: return
        failing = null
        throw PhoneFailure(problem)
    }
}

/** A draft kept in memory. */
class MemoryDrafts(private var draft: Draft = Draft()) : Drafts {
    override fun load() = draft

    override fun keep(draft: Draft) {
        this.draft = draft
    }

    override fun forget() {
        draft = Draft()
    }
}

/** Settings kept in memory. */
class MemorySettings(private var settings: Settings = Settings()) : SettingsStore {
    override fun load() = settings

    override fun keep(settings: Settings) {
        this.settings = settings
    }
}
