/** Detalle: where a report stands and how it came there, its comments, and the acts that policy allows. */
package mx.manzana.app.detail

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import mx.manzana.app.look.BackBar
import mx.manzana.app.look.Card
import mx.manzana.app.look.CustodyLine
import mx.manzana.app.look.Field
import mx.manzana.app.look.Heading
import mx.manzana.app.look.MainButton
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.PlainButton
import mx.manzana.app.look.Rule
import mx.manzana.app.look.Sign
import mx.manzana.app.look.StatusBadge
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.CommentEntry
import mx.manzana.core.Entry
import mx.manzana.core.EventKind
import mx.manzana.core.HistoryEntry
import mx.manzana.core.Petition
import mx.manzana.core.PetitionDetail
import mx.manzana.core.Problem

/** What Detalle shows. */
data class DetailState(
    val center: String,
    val now: Long,
    val detail: PetitionDetail? = null,
    /** It left this phone. */
    val gone: Boolean = false,
    val comment: String = "",
    val asking: Asking? = null,
    val agencies: List<Entry> = emptyList(),
    val busy: Boolean = false,
    val problem: Problem? = null,
)

/** An act that needs words first. */
data class Asking(
    val kind: EventKind,
    val reason: String = "",
    val note: String = "",
    val agency: Entry? = null,
    val picking: Boolean = false,
    val tried: Boolean = false,
) {
    val needsReason get() = kind == EventKind.NOT_YET || kind == EventKind.NOT_APPLICABLE
    val needsAgency get() = kind == EventKind.REFERRAL_PROPOSED || kind == EventKind.REFERRED
    val isComplete get() = !(needsReason && reason.isBlank()) && !(needsAgency && agency == null)
}

/** What can be done on Detalle. */
sealed interface DetailAction {
    data class Begin(val kind: EventKind) : DetailAction
    data class Ask(val asking: Asking?) : DetailAction
    data object Confirm : DetailAction
    data class WriteComment(val text: String) : DetailAction
    data object Comment : DetailAction
    data object Back : DetailAction
}

/** What is likely next comes first; one of these is at the thumb. */
private val BY_LIKELIHOOD = listOf(
    EventKind.STARTED, EventKind.DONE, EventKind.CITIZEN_CONFIRMED, EventKind.CITIZEN_DISPUTED, EventKind.ACCEPTED,
    EventKind.NOT_YET, EventKind.NOT_APPLICABLE, EventKind.REFERRAL_PROPOSED,
)

@Composable
fun DetailScreen(state: DetailState, onAction: (DetailAction) -> Unit) {
    val words = LocalStrings.current
    if (state.asking != null) return AskPage(state, state.asking, onAction)
    val detail = state.detail
    val acts = detail?.acts().orEmpty()
    Page(
        top = { BackBar(words.back, { onAction(DetailAction.Back) }) { detail?.petition?.let { Folio(it) } } },
        bottom = acts.firstOrNull()?.let { main ->
            { MainButton(words.act(main), { onAction(DetailAction.Begin(main)) }, Modifier.testTag("act_$main"), !state.busy) }
        },
    ) {
        Column(
            Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(16.dp, 8.dp, 16.dp, 24.dp),
            Arrangement.spacedBy(16.dp),
        ) {
            state.problem?.let { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) }
            when {
                state.gone -> Words(words.gone)
                detail == null -> Words(words.loading, colour = palette.muted)
                else -> Matter(state, detail, acts.drop(1), onAction)
            }
        }
    }
}

/** A folio is never broken over lines; a provisional one has words before it. */
@Composable
private fun Folio(petition: Petition) = Text(
    LocalStrings.current.folio(petition),
    color = palette.muted,
    style = MaterialTheme.typography.titleMedium,
    softWrap = petition.folio == null,
)

/** Allowed and not done already: what has been started is not started again. */
private fun PetitionDetail.acts(): List<EventKind> {
    val started = history.any { it.kind == EventKind.STARTED }
    return BY_LIKELIHOOD.filter { it in allowed && !(it == EventKind.STARTED && started) }
}

@Composable
private fun Matter(state: DetailState, detail: PetitionDetail, others: List<EventKind>, onAction: (DetailAction) -> Unit) {
    val words = LocalStrings.current
    val petition = detail.petition
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        Words(petition.title, MaterialTheme.typography.headlineSmall)
        StatusBadge(petition)
        CustodyLine(petition, state.center)
    }
    for (conflict in detail.conflicts) {
        Notice(words.conflict(conflict, state.now), palette.conflict, Sign.OPPOSED_ARROWS, Modifier.testTag("conflict"))
    }
    Card {
        val place = listOfNotNull(petition.location.ifBlank { null }, petition.neighborhood)
        for (line in place) Words(line)
        val whose = listOfNotNull(petition.service) + petition.agencies
        for (line in whose) Words(line, MaterialTheme.typography.bodyMedium, palette.muted)
        if (place.isNotEmpty() || whose.isNotEmpty()) Rule()
        Words(detail.description)
    }
    if (others.isNotEmpty()) {
        Heading(words.otherActs)
        Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
            for (kind in others) {
                PlainButton(words.act(kind), { onAction(DetailAction.Begin(kind)) }, Modifier.testTag("act_$kind"))
            }
        }
    }
    Heading(words.whatHappened)
    Card { for (entry in detail.history) Happened(entry) }
    Heading(words.comments)
    if (detail.comments.isEmpty()) Words(words.noComments, colour = palette.muted)
    for (comment in detail.comments) Said(comment)
    Field(words.writeComment, state.comment, { onAction(DetailAction.WriteComment(it)) }, "comment", lines = 2)
    if (state.comment.isNotBlank()) {
        PlainButton(words.addComment, { onAction(DetailAction.Comment) }, Modifier.testTag("add_comment"))
    }
}

@Composable
private fun Happened(entry: HistoryEntry) {
    val words = LocalStrings.current
    Column(Modifier.fillMaxWidth().padding(vertical = 2.dp)) {
        Words(words.event(entry), MaterialTheme.typography.labelMedium)
        for (more in listOfNotNull(entry.reason, entry.note)) Words(more, MaterialTheme.typography.bodyMedium)
        Words("${words.by(entry.mine, entry.role)} · ${words.moment(entry.at)}", MaterialTheme.typography.bodyMedium, palette.muted)
    }
}

@Composable
private fun Said(comment: CommentEntry) {
    val words = LocalStrings.current
    Card {
        Words(comment.text)
        Words("${words.by(comment.mine, comment.role)} · ${words.moment(comment.at)}", MaterialTheme.typography.bodyMedium, palette.muted)
    }
}
