/** Nuevo reporte: two required fields, a place in words, and a draft that saves itself. */
package mx.manzana.app.capture

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.MaterialTheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import mx.manzana.app.look.BackBar
import mx.manzana.app.look.Field
import mx.manzana.app.look.Heading
import mx.manzana.app.look.MainButton
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.PickField
import mx.manzana.app.look.PlainButton
import mx.manzana.app.look.Rule
import mx.manzana.app.look.Sign
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.look.touched
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.CaptureForm
import mx.manzana.core.Catalogs
import mx.manzana.core.Entry
import mx.manzana.core.Problem

/** Which list is open. */
enum class Picking { AGENCY, SERVICE, NEIGHBORHOOD }

/** What Nuevo reporte shows. */
data class CaptureState(
    val form: CaptureForm,
    val catalogs: Catalogs = Catalogs(),
    val picking: Picking? = null,
    /** Somebody tried to save without what is needed. */
    val tried: Boolean = false,
    val saving: Boolean = false,
    val problem: Problem? = null,
)

/** What can be done on Nuevo reporte. */
sealed interface CaptureAction {
    data class Write(val form: CaptureForm) : CaptureAction
    data class Pick(val list: Picking?) : CaptureAction
    data class Picked(val entry: Entry?) : CaptureAction
    data object Save : CaptureAction
    data object Discard : CaptureAction
    data object Back : CaptureAction
}

@Composable
fun CaptureScreen(state: CaptureState, onAction: (CaptureAction) -> Unit) {
    if (state.picking != null) return PickPage(state, state.picking, onAction)
    val words = LocalStrings.current
    Page(
        top = { BackBar(words.newReport, words.back) { onAction(CaptureAction.Back) } },
        bottom = { MainButton(words.saveReport, { onAction(CaptureAction.Save) }, Modifier.testTag("save"), !state.saving) },
    ) {
        Column(
            Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(16.dp, 8.dp, 16.dp, 24.dp),
            Arrangement.spacedBy(20.dp),
        ) {
            state.problem?.let { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) }
            What(state, onAction)
            Where(state, onAction)
            Words(words.draftKept, MaterialTheme.typography.bodyMedium, palette.muted)
            if (state.form != CaptureForm("", "")) {
                PlainButton(words.discardDraft, { onAction(CaptureAction.Discard) }, Modifier.testTag("discard"), grave = true)
            }
        }
    }
}

@Composable
private fun What(state: CaptureState, onAction: (CaptureAction) -> Unit) {
    val words = LocalStrings.current
    val form = state.form
    fun write(changed: CaptureForm) = onAction(CaptureAction.Write(changed))
    fun missing(text: String) = words.missing.takeIf { state.tried && text.isBlank() }
    Field(words.title, form.title, { write(form.copy(title = it)) }, "title", words.titleHint, words.required, missing(form.title))
    Field(
        words.description, form.description, { write(form.copy(description = it)) }, "description",
        words.descriptionHint, words.required, missing(form.description), lines = 3,
    )
    // A city that has published no services still has its agencies.
    if (state.catalogs.services.isNotEmpty()) {
        PickField(words.service, form.service?.name, words.choose, "service") { onAction(CaptureAction.Pick(Picking.SERVICE)) }
    } else if (state.catalogs.agencies.isNotEmpty()) {
        PickField(words.agency, form.agency?.name, words.choose, "agency") { onAction(CaptureAction.Pick(Picking.AGENCY)) }
    }
}

@Composable
private fun Where(state: CaptureState, onAction: (CaptureAction) -> Unit) {
    val words = LocalStrings.current
    val form = state.form
    fun write(changed: CaptureForm) = onAction(CaptureAction.Write(changed))
    Rule()
    Heading(words.whereHint)
    Field(words.street, form.street, { write(form.copy(street = it)) }, "street")
    Field(words.cross1, form.cross1, { write(form.copy(cross1 = it)) }, "cross1")
    Field(words.cross2, form.cross2, { write(form.copy(cross2 = it)) }, "cross2")
    if (state.catalogs.neighborhoods.isNotEmpty()) {
        PickField(words.neighborhood, form.neighborhood?.name, words.choose, "neighborhood") {
            onAction(CaptureAction.Pick(Picking.NEIGHBORHOOD))
        }
    }
}

@Composable
private fun PickPage(state: CaptureState, list: Picking, onAction: (CaptureAction) -> Unit) {
    val words = LocalStrings.current
    val (name, entries) = when (list) {
        Picking.AGENCY -> words.agency to state.catalogs.agencies
        Picking.SERVICE -> words.service to state.catalogs.services
        Picking.NEIGHBORHOOD -> words.neighborhood to state.catalogs.neighborhoods
    }
    EntryList(name, entries, { onAction(CaptureAction.Picked(it)) }, { onAction(CaptureAction.Pick(null)) })
}

/** A catalog on a page of its own, with a search that forgives accents and case. */
@Composable
fun EntryList(name: String, entries: List<Entry>, onPick: (Entry?) -> Unit, onBack: () -> Unit) {
    val words = LocalStrings.current
    var sought by remember { mutableStateOf("") }
    val found = entries.filter { sought.plain() in it.name.plain() }
    Page(top = {
        BackBar(name, words.back, onBack)
        Box(Modifier.padding(16.dp, 4.dp, 16.dp, 8.dp)) { Field(words.search, sought, { sought = it }, "search") }
    }) {
        LazyColumn(contentPadding = PaddingValues(bottom = 16.dp)) {
            if (sought.isEmpty()) item { EntryRow(words.none, "entry_none") { onPick(null) } }
            items(found, { it.id }) { entry -> EntryRow(entry.name, "entry") { onPick(entry) } }
            if (found.isEmpty()) item { Words(words.noMatch, colour = palette.muted, modifier = Modifier.padding(16.dp)) }
        }
    }
}

@Composable
private fun EntryRow(name: String, tag: String, onPick: () -> Unit) {
    Column {
        Box(
            Modifier.fillMaxWidth().heightIn(min = 56.dp).touched(onPick)
                .testTag(tag).padding(16.dp, 12.dp),
            Alignment.CenterStart,
        ) { Words(name) }
        Rule()
    }
}

private val ACCENTS = Regex("\\p{M}")

private fun String.plain() =
    java.text.Normalizer.normalize(this, java.text.Normalizer.Form.NFD).replace(ACCENTS, "").lowercase()
