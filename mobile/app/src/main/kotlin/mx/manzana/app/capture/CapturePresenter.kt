/** Keeps the draft at every keystroke, and captures it once. */
package mx.manzana.app.capture

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
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
    private val scope: CoroutineScope,
    private val onSaved: () -> Unit,
    private val onBack: () -> Unit,
) {
    private val shown = MutableStateFlow(CaptureState(drafts.load().form))
    val state: StateFlow<CaptureState> = shown

    init {
        scope.launch {
            try {
                val catalogs = phone.catalogs()
                shown.update { it.copy(catalogs = catalogs) }
            } catch (failure: PhoneFailure) {
                shown.update { it.copy(problem = failure.problem) }
            }
        }
    }

    fun on(action: CaptureAction) {
        when (action) {
            is CaptureAction.Write -> write(action.form)
            is CaptureAction.Pick -> shown.update { it.copy(picking = action.list) }
            is CaptureAction.Picked -> pick(action.entry)
            CaptureAction.Save -> save()
            CaptureAction.Discard -> discard()
            CaptureAction.Back -> onBack()
        }
    }

    private fun write(form: CaptureForm) {
        drafts.keep(Draft(form))
        shown.update { it.copy(form = form, problem = null) }
    }

    private fun pick(entry: Entry?) {
        val (form, catalogs, picking) = shown.value
        shown.update { it.copy(picking = null) }
        when (picking) {
            Picking.AGENCY -> write(form.copy(agency = entry))
            // A service belongs to an agency: choosing the one addresses the other.
            Picking.SERVICE -> write(form.copy(service = entry, agency = catalogs.agencies.find { it.id == entry?.parent }))
            Picking.NEIGHBORHOOD -> write(form.copy(neighborhood = entry))
            null -> Unit
        }
    }

    private fun save() {
        val form = shown.value.form
        if (shown.value.saving) return
        if (form.title.isBlank() || form.description.isBlank()) {
            shown.update { it.copy(tried = true) }
            return
        }
        shown.update { it.copy(saving = true, problem = null) }
        scope.launch {
            try {
                drafts.keep(Draft(form, savingSince = now()))
                phone.capture(form)
                drafts.forget()
                onSaved()
            } catch (failure: PhoneFailure) {
                drafts.keep(Draft(form))
                shown.update { it.copy(saving = false, problem = failure.problem) }
            }
        }
    }

    private fun discard() {
        drafts.forget()
        onBack()
    }
}

/** Forgets a draft that was captured although the app was killed before it could say so. */
suspend fun settle(drafts: Drafts, phone: Phone) {
    val draft = drafts.load()
    val since = draft.savingSince ?: return
    val captured = phone.list().any { it.capturedHere && it.title == draft.form.title && it.capturedAt >= since }
    if (captured) drafts.forget() else drafts.keep(draft.copy(savingSince = null))
}
