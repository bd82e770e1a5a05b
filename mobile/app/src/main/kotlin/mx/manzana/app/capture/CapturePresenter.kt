/**
 * Keeps the draft at every keystroke, and captures it once.
 *
 * What is typed is state at once, or a fast hand would lose letters; the disk follows on [disk], which does
 * one thing after the other: an older draft never overwrites a newer one, nor brings back a saved one.
 */
package mx.manzana.app.capture

import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import kotlin.coroutines.CoroutineContext
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import mx.manzana.core.CaptureForm
import mx.manzana.core.Draft
import mx.manzana.core.Drafts
import mx.manzana.core.Entry
import mx.manzana.core.Phone
import mx.manzana.core.PhoneFailure

class CapturePresenter(
    private val phone: Phone,
    private val drafts: Drafts,
    private val now: () -> Long,
    private val disk: CoroutineContext,
    private val scope: CoroutineScope,
    private val onSaved: () -> Unit,
    private val onBack: () -> Unit,
) {
    var state by mutableStateOf(CaptureState(drafts.load().form))
        private set

    init {
        scope.launch {
            try {
                val catalogs = phone.catalogs()
                state = state.copy(catalogs = catalogs)
            } catch (failure: PhoneFailure) {
                state = state.copy(problem = failure.problem)
            }
        }
    }

    fun on(action: CaptureAction) {
        when (action) {
            is CaptureAction.Write -> write(action.form)
            is CaptureAction.Pick -> state = state.copy(picking = action.list)
            is CaptureAction.Picked -> pick(action.entry)
            CaptureAction.Save -> save()
            CaptureAction.Discard -> discard()
            CaptureAction.Back -> leave()
        }
    }

    private fun write(form: CaptureForm) {
        state = state.copy(form = form, problem = null)
        // Begun is done, even if the screen is left meanwhile.
        scope.launch(disk + NonCancellable) {
            if (form == state.form) drafts.keep(Draft(form))
        }
    }

    /** The screen is left when the draft is on disk. */
    private fun leave() {
        scope.launch {
            withContext(disk) { }
            onBack()
        }
    }

    private fun pick(entry: Entry?) {
        val (form, catalogs, picking) = state
        state = state.copy(picking = null)
        when (picking) {
            Picking.AGENCY -> write(form.copy(agency = entry))
            // A service belongs to an agency: choosing the one addresses the other.
            Picking.SERVICE -> write(form.copy(service = entry, agency = catalogs.agencies.find { it.id == entry?.parent }))
            Picking.NEIGHBORHOOD -> write(form.copy(neighborhood = entry))
            null -> Unit
        }
    }

    private fun save() {
        val form = state.form
        if (state.saving) return
        if (form.title.isBlank() || form.description.isBlank()) {
            state = state.copy(tried = true)
            return
        }
        state = state.copy(saving = true, problem = null)
        scope.launch {
            try {
                withContext(disk) { drafts.keep(Draft(form, savingSince = now())) }
                phone.capture(form.copy(title = form.title.trim(), description = form.description.trim()))
                withContext(disk) { drafts.forget() }
                onSaved()
            } catch (failure: PhoneFailure) {
                withContext(disk) { drafts.keep(Draft(form)) }
                state = state.copy(saving = false, problem = failure.problem)
            }
        }
    }

    private fun discard() {
        scope.launch {
            withContext(disk) { drafts.forget() }
            onBack()
        }
    }
}

/** Forgets a draft that was captured although the app was killed before it could say so. */
suspend fun settle(drafts: Drafts, phone: Phone) {
    val draft = drafts.load()
    val since = draft.savingSince ?: return
    val reports = try {
        phone.list()
    } catch (_: PhoneFailure) {
        // The draft stays as it is, for the next start; Inicio tells what is wrong.
        return
    }
    val captured = reports.any { it.capturedHere && it.title == draft.form.title.trim() && it.capturedAt >= since }
    if (captured) drafts.forget() else drafts.keep(draft.copy(savingSince = null))
}
