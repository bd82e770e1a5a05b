/** What Inicio shows, read again whenever something changes. */
package mx.manzana.app.home

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import mx.manzana.core.Drafts
import mx.manzana.core.Me
import mx.manzana.core.Petition
import mx.manzana.core.Phone
import mx.manzana.core.PhoneFailure
import mx.manzana.core.PhoneStatus
import mx.manzana.core.Role
import mx.manzana.core.Status

class HomePresenter(
    private val phone: Phone,
    private val drafts: Drafts,
    private val now: () -> Long,
    me: Me,
    status: PhoneStatus,
    scope: CoroutineScope,
) {
    private val filter = MutableStateFlow(if (me.role == Role.CREW) Filter.OPEN else Filter.ALL)
    private val shown = MutableStateFlow(
        HomeState(me, status, now(), filter = filter.value, hasDraft = !drafts.load().isEmpty),
    )
    val state: StateFlow<HomeState> = shown

    init {
        scope.launch {
            combine(phone.changes, filter) { _, chosen -> chosen }.conflate().collect(::read)
        }
    }

    fun choose(chosen: Filter) = filter.update { chosen }

    /** The screen is shown again, perhaps after a report was saved. */
    fun shownAgain(justSaved: Boolean) {
        val hasDraft = !drafts.load().isEmpty
        shown.update { it.copy(hasDraft = hasDraft, justSaved = justSaved) }
    }

    private suspend fun read(chosen: Filter) {
        try {
            val (status, reports) = phone.status() to phone.list().filter { it.isIn(chosen) }
            shown.update { it.copy(status = status, reports = reports, filter = chosen, now = now(), problem = null) }
        } catch (failure: PhoneFailure) {
            shown.update { it.copy(problem = failure.problem) }
        }
    }
}

private fun Petition.isIn(filter: Filter): Boolean {
    val closed = !conflict && (status == Status.NOT_APPLICABLE || status == Status.DONE)
    return when (filter) {
        Filter.ALL -> true
        Filter.OPEN -> !closed
        Filter.CLOSED -> closed
    }
}
