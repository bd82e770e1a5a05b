/** The words that an act needs, on a page of their own: a reason, what was done, or another agency. */
package mx.manzana.app.detail

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ExperimentalLayoutApi
import androidx.compose.foundation.layout.FlowRow
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.MaterialTheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import mx.manzana.app.capture.EntryList
import mx.manzana.app.look.BackBar
import mx.manzana.app.look.Choice
import mx.manzana.app.look.Field
import mx.manzana.app.look.MainButton
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.PickField
import mx.manzana.app.look.Sign
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.EventKind

@OptIn(ExperimentalLayoutApi::class)
@Composable
internal fun AskPage(state: DetailState, asking: Asking, onAction: (DetailAction) -> Unit) {
    val words = LocalStrings.current
    fun ask(changed: Asking?) = onAction(DetailAction.Ask(changed))
    if (asking.picking) {
        val back = { ask(asking.copy(picking = false)) }
        return EntryList(words.agency, state.agencies, { ask(asking.copy(agency = it, picking = false)) }, back)
    }
    Page(
        top = { BackBar(words.act(asking.kind), words.cancel) { ask(null) } },
        bottom = { MainButton(words.save, { onAction(DetailAction.Confirm) }, Modifier.testTag("confirm"), !state.busy) },
    ) {
        Column(
            Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(16.dp, 8.dp, 16.dp, 24.dp),
            Arrangement.spacedBy(20.dp),
        ) {
            state.problem?.let { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) }
            state.detail?.petition?.let { Words(it.title, MaterialTheme.typography.titleMedium) }
            Words(words.actHint(asking.kind), colour = palette.muted)
            if (asking.needsAgency) {
                PickField(words.agency, asking.agency?.name, words.choose, "agency") { ask(asking.copy(picking = true)) }
                if (asking.tried && asking.agency == null) Words(words.missing, colour = palette.conflict.text)
            }
            if (asking.needsReason) {
                FlowRow(horizontalArrangement = Arrangement.spacedBy(8.dp), verticalArrangement = Arrangement.spacedBy(8.dp)) {
                    for (reason in words.reasons) {
                        Choice(reason, asking.reason == reason, { ask(asking.copy(reason = reason)) })
                    }
                }
                val missing = words.missing.takeIf { asking.tried && asking.reason.isBlank() }
                Field(
                    words.reason, asking.reason, { ask(asking.copy(reason = it)) }, "reason",
                    mark = words.required, missing = missing, lines = 2,
                )
            } else {
                val name = if (asking.needsAgency || asking.kind != EventKind.DONE) words.reason else words.note
                Field(name, asking.note, { ask(asking.copy(note = it)) }, "note", lines = 3)
            }
        }
    }
}
