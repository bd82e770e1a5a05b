/** What Inicio shows, read again whenever something changes. */
package mx.manzana.app.home

import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.flow.conflate
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
    var state by mutableStateOf(HomeState(me, status, now(), filter = filter.value, hasDraft = !drafts.load().isEmpty))
        private set

    init {
        scope.launch {
            combine(phone.changes, filter) { _, chosen -> chosen }.conflate().collect(::read)
        }
    }

    fun choose(chosen: Filter) {
        filter.value = chosen
    }

    /** The screen is shown again, perhaps after a report was saved. */
    fun shownAgain(justSaved: Boolean) {
        state = state.copy(hasDraft = !drafts.load().isEmpty, justSaved = justSaved)
    }

    private suspend fun read(chosen: Filter) {
        try {
            val (status, reports) = phone.status() to phone.list().filter { it.isIn(chosen) }
            state = state.copy(status = status, reports = reports, filter = chosen, now = now(), problem = null)
        } catch (failure: PhoneFailure) {
            state = state.copy(problem = failure.problem)
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
