/** Por corregir: what the relay did not accept, why, and what can be done about it. */
package mx.manzana.app.corrections

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.MaterialTheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.launch
import mx.manzana.app.look.BackBar
import mx.manzana.app.look.Card
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.PlainButton
import mx.manzana.app.look.Sign
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.Phone
import mx.manzana.core.PhoneFailure
import mx.manzana.core.Problem
import mx.manzana.core.ToCorrect

/** What Por corregir shows. */
data class CorrectionsState(val waiting: List<ToCorrect> = emptyList(), val problem: Problem? = null)

/** What can be done on Por corregir. */
sealed interface CorrectionsAction {
    data class Resend(val act: String) : CorrectionsAction
    data class Remove(val act: String) : CorrectionsAction
    data object Back : CorrectionsAction
}

@Composable
fun CorrectionsScreen(state: CorrectionsState, onAction: (CorrectionsAction) -> Unit) {
    val words = LocalStrings.current
    Page(top = { BackBar(words.toCorrect, words.back) { onAction(CorrectionsAction.Back) } }) {
        LazyColumn(contentPadding = PaddingValues(16.dp), verticalArrangement = Arrangement.spacedBy(12.dp)) {
            state.problem?.let { item { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) } }
            if (state.waiting.isEmpty()) item { Words(words.nothingToCorrect, colour = palette.muted) }
            items(state.waiting, { it.act }) { kept ->
                Card {
                    Words(words.kept(kept.what), MaterialTheme.typography.titleMedium)
                    Words(words.refused(kept.rule, kept.field))
                    PlainButton(words.sendAgain, { onAction(CorrectionsAction.Resend(kept.act)) }, Modifier.testTag("resend"))
                    PlainButton(words.remove, { onAction(CorrectionsAction.Remove(kept.act)) }, Modifier.testTag("remove"), grave = true)
                }
            }
        }
    }
}

class CorrectionsPresenter(private val phone: Phone, private val scope: CoroutineScope, private val onBack: () -> Unit) {
    var state by mutableStateOf(CorrectionsState())
        private set

    init {
        scope.launch { phone.changes.conflate().collect { telling { read() } } }
    }

    fun on(action: CorrectionsAction) {
        when (action) {
            is CorrectionsAction.Resend -> doing { phone.resend(action.act) }
            is CorrectionsAction.Remove -> doing { phone.closeCorrection(action.act) }
            CorrectionsAction.Back -> onBack()
        }
    }

    private suspend fun read() {
        val waiting = phone.toCorrect()
        state = CorrectionsState(waiting)
    }

    private fun doing(act: suspend () -> Unit) {
        scope.launch {
            telling {
                act()
                read()
            }
        }
    }

    private suspend fun telling(call: suspend () -> Unit) = try {
        call()
    } catch (failure: PhoneFailure) {
        state = state.copy(problem = failure.problem)
    }
}
