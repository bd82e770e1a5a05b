/** One report: read again whenever something changes; what is done to it is durable before it is shown. */
package mx.manzana.app.detail

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.update
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
    private val shown = MutableStateFlow(DetailState(center, now()))
    val state: StateFlow<DetailState> = shown

    init {
        scope.launch { phone.changes.conflate().collect { read() } }
    }

    fun on(action: DetailAction) {
        when (action) {
            is DetailAction.Begin -> begin(action.kind)
            is DetailAction.Ask -> shown.update { it.copy(asking = action.asking, problem = null) }
            DetailAction.Confirm -> confirm()
            is DetailAction.WriteComment -> shown.update { it.copy(comment = action.text) }
            DetailAction.Comment -> comment()
            DetailAction.Back -> onBack()
        }
    }

    private suspend fun read() = telling {
        val detail = phone.detail(id)
        shown.update { it.copy(detail = detail ?: it.detail, gone = detail == null, now = now()) }
    }

    private fun begin(kind: EventKind) {
        if (kind in WORDLESS) return doing { phone.act(id, Step(kind)) }
        val asking = Asking(kind)
        shown.update { it.copy(asking = asking, problem = null) }
        if (asking.needsAgency) scope.launch { telling { readAgencies() } }
    }

    private suspend fun readAgencies() {
        val agencies = phone.catalogs().agencies
        shown.update { it.copy(agencies = agencies) }
    }

    private fun confirm() {
        val asking = shown.value.asking ?: return
        if (!asking.isComplete) return shown.update { it.copy(asking = asking.copy(tried = true)) }
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
            shown.update { it.copy(asking = null) }
        }
    }

    private fun comment() {
        val text = shown.value.comment.trim()
        doing {
            phone.comment(id, text)
            shown.update { it.copy(comment = "") }
        }
    }

    /** One act at a time, and the screen as it is afterwards. */
    private fun doing(act: suspend () -> Unit) {
        if (shown.value.busy) return
        shown.update { it.copy(busy = true, problem = null) }
        scope.launch {
            telling {
                act()
                read()
            }
            shown.update { it.copy(busy = false) }
        }
    }

    private suspend fun telling(call: suspend () -> Unit) = try {
        call()
    } catch (failure: PhoneFailure) {
        shown.update { it.copy(problem = failure.problem) }
    }
}
