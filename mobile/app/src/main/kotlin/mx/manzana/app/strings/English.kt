/** English, complete, for whoever switches to it. */
package mx.manzana.app.strings

import mx.manzana.core.Category
import mx.manzana.core.Code
import mx.manzana.core.Conflict
import mx.manzana.core.Connection
import mx.manzana.core.Custody
import mx.manzana.core.EventKind
import mx.manzana.core.HistoryEntry
import mx.manzana.core.KeptAct
import mx.manzana.core.Outcome
import mx.manzana.core.Petition
import mx.manzana.core.Problem
import mx.manzana.core.Role
import mx.manzana.core.Rule
import mx.manzana.core.Status

object English : Strings {
    override val other get() = Spanish
    override val name = "English"
    override val switchLanguage = "Switch to Spanish"
    override val lightTheme = "Use light colours"
    override val darkTheme = "Use dark colours"
    override val back = "Back"

    override fun homeTitle(role: Role) = if (role == Role.CREW) "Work" else "My reports"

    override fun who(display: String, role: Role) = "$display · ${role(role)}"

    override fun network(connection: Connection) = when (connection) {
        Connection.STOPPED -> "Not connected"
        Connection.OFFLINE -> "No signal. What is saved will be sent by itself."
        Connection.CONNECTING -> "Looking for the centre"
        Connection.ONLINE -> "Connected to the centre"
        Connection.REFUSED -> "The centre does not admit this phone. What is saved is still here."
        Connection.UNTRUSTED -> "What answers is not the city's centre. Nothing was sent."
        Connection.UNKNOWN -> "Nothing known about the connection"
    }

    override val allSent = "Nothing left to send"

    override fun unsent(count: Long, oldest: Long?, now: Long): String {
        val age = oldest?.let {
            when (daysAgo(it, now)) {
                0L -> "from today"
                1L -> "from yesterday"
                else -> "from ${day(it)}"
            }
        }
        return when {
            age == null -> "$count not sent"
            count == 1L -> "1 not sent, $age"
            else -> "$count not sent, the oldest $age"
        }
    }

    override fun waitingToCorrect(count: Int) = "$count to correct"

    override fun recovering(center: String, since: Long, now: Long): String {
        val from = if (daysAgo(since, now) == 0L) clock(since) else "${day(since)} at ${clock(since)}"
        return "$center has been recovering its data since $from. What is saved here is not lost; new folios come when it ends."
    }
    override val all = "All"
    override val open = "Open"
    override val closed = "Closed"
    override val nothingYet = "Your reports will appear here.\nTap “New report” to make the first one; it needs no signal."
    override val nothingHere = "There are no reports of this kind."
    override val newReport = "New report"
    override val goOnWithDraft = "Go on with the draft"
    override fun unsentHere(count: Int) = "$count not sent"
    override fun folio(petition: Petition) = petition.folio ?: "Provisional folio ${petition.provisionalFolio}"

    override fun custody(custody: Custody, center: String) = when (custody) {
        Custody.ON_THIS_PHONE -> "On this phone"
        Custody.COPIED_TO_ANOTHER -> "Copied to another phone"
        Custody.RECEIVED -> "Received at $center"
        Custody.ACCEPTED_BY_AGENCY -> "Accepted by the agency"
    }

    override fun status(petition: Petition) = when {
        petition.conflict -> "In conflict"
        petition.status == Status.PENDING -> "Waiting for attention"
        petition.status == Status.REFERRED -> "Referred"
        petition.status == Status.IN_PROGRESS -> "In progress"
        petition.status == Status.NOT_APPLICABLE -> "Not applicable"
        petition.unconfirmed -> "Done, to be confirmed"
        else -> "Done"
    }

    override val title = "What is the matter?"
    override val titleHint = "For example: street lamp out"
    override val description = "Description"
    override val descriptionHint = "Since when, how bad, a landmark to find it"
    override val required = "Required"
    override val missing = "Please fill this in"
    override val service = "Service"
    override val agency = "Agency"
    override val street = "Street and number"
    override val cross1 = "Between street"
    override val cross2 = "And street"
    override val neighborhood = "Neighbourhood"
    override val choose = "Choose"
    override val none = "None"
    override val search = "Search"
    override val noMatch = "There is none with that name."
    override val whereHint = "Where? Street and neighbourhood are enough."
    override val draftKept = "The draft saves itself on this phone."
    override val saveReport = "Save report"
    override val discardDraft = "Delete the draft"
    override val savedHere = "Saved on this phone. It will be sent by itself when there is signal."

    override val loading = "Opening the report"
    override val gone = "This report is no longer on this phone."
    override val whatHappened = "What has happened"
    override val comments = "Comments"
    override val noComments = "There are no comments yet."
    override val writeComment = "Write a comment"
    override val addComment = "Save comment"
    override val otherActs = "Other options"

    override fun act(kind: EventKind) = when (kind) {
        EventKind.RECORDED -> "Capture"
        EventKind.REFERRED -> "Refer"
        EventKind.ACCEPTED -> "Accept"
        EventKind.REFERRAL_PROPOSED -> "Belongs to another agency"
        EventKind.ASSIGNED -> "Assign to a crew"
        EventKind.STARTED -> "Start work"
        EventKind.NOT_YET -> "Not possible yet"
        EventKind.DONE -> "Mark as Done"
        EventKind.NOT_APPLICABLE -> "Not applicable"
        EventKind.FINAL_STATE -> "Define the final state"
        EventKind.REOPENED -> "Reopen"
        EventKind.CITIZEN_CONFIRMED -> "Yes, it was solved"
        EventKind.CITIZEN_DISPUTED -> "No, it was not solved"
    }

    override fun actHint(kind: EventKind) = when (kind) {
        EventKind.DONE -> "Say what was done, if that helps to understand it."
        EventKind.NOT_YET -> "Say why it is not possible yet. Whoever reported it will read this."
        EventKind.NOT_APPLICABLE -> "Say why it does not apply. Whoever reported it will read this."
        EventKind.REFERRAL_PROPOSED -> "Choose whom it belongs to. The centre decides."
        EventKind.CITIZEN_DISPUTED -> "Say what is missing."
        else -> ""
    }

    override fun event(entry: HistoryEntry): String = when (entry.kind) {
        EventKind.RECORDED -> "The report was made"
        EventKind.REFERRED -> "Referred to ${entry.agency}"
        EventKind.ACCEPTED -> "Accepted by the agency"
        EventKind.REFERRAL_PROPOSED -> "Proposed to refer to ${entry.agency}"
        EventKind.ASSIGNED -> "Assigned to a crew"
        EventKind.STARTED -> "Work started"
        EventKind.NOT_YET -> "Not possible yet"
        EventKind.DONE -> "Done"
        EventKind.NOT_APPLICABLE -> "Not applicable"
        EventKind.FINAL_STATE -> "Final state: ${word(entry)}"
        EventKind.REOPENED -> "Reopened"
        EventKind.CITIZEN_CONFIRMED -> "Confirmed by the citizen"
        EventKind.CITIZEN_DISPUTED -> "The citizen says it was not solved"
    }

    override fun by(mine: Boolean, role: Role) = if (mine) "You" else role(role)
    override val reason = "Reason"
    override val reasons = listOf("Material is missing", "Could not be found", "No access")
    override val note = "What was done"
    override val save = "Save"
    override val cancel = "Cancel"

    override fun conflict(conflict: Conflict, now: Long): String {
        val (one, other) = conflict
        val first = when {
            one.mine -> "You said ${word(one)}"
            else -> "${role(one.role)} said ${word(one)} ${at(one.at, now)}"
        }
        val second = if (other.mine) "you, from another phone," else role(other.role)
        return "$first; $second said ${word(other)} ${at(other.at, now)}. Supervision decides."
    }

    override val toCorrect = "To correct"
    override val nothingToCorrect = "There is nothing to correct."

    override fun kept(act: KeptAct) = when (act) {
        is KeptAct.Capture -> "Report: ${act.title}"
        is KeptAct.Did -> act(act.kind)
        is KeptAct.Comment -> "Comment: ${act.text}"
        KeptAct.Correction -> "Corrected data"
        KeptAct.Other -> "Act"
    }

    override fun refused(rule: Rule, field: String?) =
        "This change was not accepted: ${rule(rule, field)}. It is kept here."

    override val sendAgain = "Send again"
    override val remove = "Remove"

    override fun problem(problem: Problem) = when (problem.code) {
        Code.DENIED -> "Not saved: ${rule(problem.rule ?: Rule.UNKNOWN, problem.field)}."
        Code.UNCHANGED -> "The report says so already: there is nothing to change."
        Code.NOT_FOUND, Code.AMBIGUOUS -> gone
        Code.NOT_ENROLLED -> "This phone is not enrolled. Ask for an invitation."
        Code.ALREADY_ENROLLED -> "This phone is enrolled already."
        Code.BAD_INVITATION -> "That is not an invitation, or part of it is missing. Copy all of it and try again."
        Code.IN_USE -> "The app is already open with these data. Use the other window."
        Code.UNAUTHORISED -> "The centre does not admit this phone, or the invitation is no longer good. What is saved is still here; ask for another invitation."
        Code.UNTRUSTED -> "What answers is not the city's centre. Nothing was sent."
        Code.OTHER_VERSION -> "The app and the centre are of different versions. Update the app; what is saved is still here."
        Code.OFFLINE -> "The centre could not be reached. What is saved is still on this phone."
        Code.STORAGE_FULL -> "There is no room and this was not saved. Make room and try again."
        Code.STORAGE_NEWER -> "The data are of a newer version. Update the app."
        Code.STORAGE_DAMAGED -> "The data on this phone are damaged. Tell your coordinator."
        Code.STORAGE_RESCUED -> "The data on this phone were damaged. What could be was rescued; the rest comes again from the centre. Look at your reports and repeat."
        Code.STORAGE_FORGOTTEN -> "The data on this phone were damaged and it no longer knows who it is. Ask for another invitation; what was rescued is sent afterwards."
        else -> when (problem.category) {
            Category.STORAGE -> "It could not be saved on this phone. Try again."
            Category.CANCELLED -> "It was cancelled. What is saved is still on this phone."
            else -> "The app failed. What is saved is still on this phone."
        }
    }

    override val enrolTitle = "Enrol this phone"
    override val enrolHint = "Paste the invitation that your coordinator gave you. Signal is needed just once."
    override val invitation = "Invitation"
    override val enrol = "Enrol"

    private fun role(role: Role) = when (role) {
        Role.BLOCK_CAPTAIN -> "Block captain"
        Role.CREW -> "Crew"
        Role.OPERATOR -> "Counter"
        Role.SUPERVISOR -> "Supervision"
        Role.AGENCY_DESK -> "Agency"
        Role.COORDINATOR -> "Coordination"
        Role.AUDITOR -> "Audit"
        Role.ADMINISTRATOR -> "Administration"
        Role.CITIZEN -> "Citizen"
    }

    private fun word(entry: HistoryEntry) = when (entry.outcome) {
        Outcome.DONE -> "Done"
        Outcome.NOT_APPLICABLE -> "Not applicable"
        null -> event(entry)
    }

    private fun at(at: Long, now: Long) = when (daysAgo(at, now)) {
        0L -> "at ${clock(at)}"
        else -> "on ${day(at)} at ${clock(at)}"
    }

    private fun rule(rule: Rule, field: String?): String = when (rule) {
        Rule.BAD_VALUE -> field(field)?.let { "$it is missing or not valid" } ?: "something is missing or not valid"
        Rule.ROLE_MAY_NOT -> "your role does not allow it"
        Rule.OUT_OF_SCOPE -> "the report is no longer yours: it was referred, or is of another area"
        Rule.ALREADY_FINAL -> "the report has a final state already"
        Rule.ALREADY_CLOSED -> "the report was closed already"
        Rule.IN_CONFLICT -> "the report is in conflict, and Supervision decides"
        Rule.NOT_CLOSED -> "the report is not closed yet"
        Rule.BLIND_WRITE -> "somebody else changed it at the same time"
        Rule.DOCUMENT_FULL -> "the report takes no more acts"
        Rule.NEWER_SCHEMA -> "this app is newer than the system"
        Rule.UNKNOWN_DOCUMENT -> "the system does not know that report"
        Rule.NOT_TAKEN -> "the city reviewed it and did not take it"
        Rule.TAKEN_OVER -> "the city recorded it itself, with your name: it may be discarded"
        Rule.FOREIGN_GRANT, Rule.FOREIGN_ACTOR, Rule.FOREIGN_RECORD -> "it was written in another person's or phone's name"
        Rule.BAD_CHANGE, Rule.BAD_SEQUENCE, Rule.BAD_DOC_ID, Rule.BAD_RECORD, Rule.FORBIDDEN_OPERATION ->
            "this phone wrote it in a way that the system does not accept"
        Rule.UNKNOWN -> "a rule that this app does not know yet"
    }

    private fun field(name: String?) = when (name) {
        "title" -> "what is the matter"
        "description" -> "the description"
        "street", "cross1", "cross2" -> "the street"
        "neighborhood" -> "the neighbourhood"
        "comments" -> "the comment"
        "not_yet", "not_applicable" -> "the reason"
        "agency", "referred", "referral_proposed" -> "the agency"
        else -> null
    }
}
