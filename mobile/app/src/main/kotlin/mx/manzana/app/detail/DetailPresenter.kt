/** One report: read again whenever something changes; what is done to it is durable before it is shown. */
package mx.manzana.app.detail

import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.launch
import mx.manzana.core.EventKind
import mx.manzana.core.Phone
import mx.manzana.core.PhoneFailure
import mx.manzana.core.Step

/** Acts that are said with the button alone. */
private val WORDLESS = setOf(EventKind.STARTED, EventKind.CITIZEN_CONFIRMED, EventKind.ACCEPTED)

class DetailPresenter(
    private val phone: Phone,
    private val id: String,
    center: String,
    private val now: () -> Long,
    private val scope: CoroutineScope,
    private val onBack: () -> Unit,
) {
    var state by mutableStateOf(DetailState(center, now()))
        private set

    init {
        scope.launch { phone.changes.conflate().collect { read() } }
    }

    fun on(action: DetailAction) {
        when (action) {
            is DetailAction.Begin -> begin(action.kind)
            is DetailAction.Ask -> state = state.copy(asking = action.asking, problem = null)
            DetailAction.Confirm -> confirm()
            is DetailAction.WriteComment -> state = state.copy(comment = action.text)
            DetailAction.Comment -> comment()
            DetailAction.Back -> onBack()
        }
    }

    private suspend fun read() = telling {
        val detail = phone.detail(id)
        state = state.copy(detail = detail ?: state.detail, gone = detail == null, now = now())
    }

    private fun begin(kind: EventKind) {
        if (kind in WORDLESS) return doing { phone.act(id, Step(kind)) }
        val asking = Asking(kind)
        state = state.copy(asking = asking, problem = null)
        if (asking.needsAgency) scope.launch { telling { readAgencies() } }
    }

    private suspend fun readAgencies() {
        val agencies = phone.catalogs().agencies
        state = state.copy(agencies = agencies)
    }

    private fun confirm() {
        val asking = state.asking ?: return
        if (!asking.isComplete) {
            state = state.copy(asking = asking.copy(tried = true))
            return
        }
        // A step with a reason of its own needs no second text; the others' words are a note.
        val words = if (asking.needsReason) asking.reason else asking.note
        val isReason = asking.kind != EventKind.DONE
        val step = Step(
            asking.kind,
            reason = words.trim().takeIf { isReason && it.isNotEmpty() },
            note = words.trim().takeIf { !isReason && it.isNotEmpty() },
            agency = asking.agency,
        )
        doing {
            phone.act(id, step)
            state = state.copy(asking = null)
        }
    }

    private fun comment() {
        val text = state.comment.trim()
        doing {
            phone.comment(id, text)
            state = state.copy(comment = "")
        }
    }

    /** One act at a time, and the screen as it is afterwards. */
    private fun doing(act: suspend () -> Unit) {
        if (state.busy) return
        state = state.copy(busy = true, problem = null)
        scope.launch {
            telling {
                act()
                read()
            }
            state = state.copy(busy = false)
        }
    }

    private suspend fun telling(call: suspend () -> Unit) = try {
        call()
    } catch (failure: PhoneFailure) {
        state = state.copy(problem = failure.problem)
    }
}
