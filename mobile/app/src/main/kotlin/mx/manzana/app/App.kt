/** The app: which screen is shown, in which language and light. */
package mx.manzana.app

import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.saveable.rememberSaveableStateHolder
import androidx.compose.runtime.setValue
import androidx.compose.ui.text.font.FontFamily
import kotlin.coroutines.CoroutineContext
import kotlin.coroutines.EmptyCoroutineContext
import kotlinx.coroutines.Dispatchers
import mx.manzana.app.capture.CapturePresenter
import mx.manzana.app.capture.CaptureScreen
import mx.manzana.app.capture.settle
import mx.manzana.app.corrections.CorrectionsPresenter
import mx.manzana.app.corrections.CorrectionsScreen
import mx.manzana.app.detail.DetailPresenter
import mx.manzana.app.detail.DetailScreen
import mx.manzana.app.home.HomeAction
import mx.manzana.app.home.HomePresenter
import mx.manzana.app.home.HomeScreen
import mx.manzana.app.look.ManzanaTheme
import mx.manzana.app.strings.English
import mx.manzana.app.strings.LocalStrings
import mx.manzana.app.strings.Spanish
import mx.manzana.core.Drafts
import mx.manzana.core.Me
import mx.manzana.core.Phone
import mx.manzana.core.PhoneStatus
import mx.manzana.core.Settings
import mx.manzana.core.SettingsStore

/** What the app stands on: the phone, what it keeps itself, a clock and its type. */
class Ground(
    val phone: Phone,
    val drafts: Drafts,
    val settings: SettingsStore,
    val fonts: FontFamily,
    val now: () -> Long = System::currentTimeMillis,
    /** Where files are written: one thing after the other. */
    val disk: CoroutineContext = Dispatchers.IO.limitedParallelism(1),
    /** Where presenters run; by itself, the thread that draws. */
    val screens: CoroutineContext = EmptyCoroutineContext,
)

private sealed interface Place {
    data object Home : Place
    data object NewReport : Place
    data class Report(val id: String) : Place
    data object ToCorrect : Place
}

/** The whole app, on an open phone. */
@Composable
fun App(ground: Ground) {
    var settings by remember { mutableStateOf(ground.settings.load()) }
    val dark = settings.dark ?: isSystemInDarkTheme()
    fun keep(changed: Settings) {
        ground.settings.keep(changed)
        settings = changed
    }
    val strings = if (settings.english) English else Spanish
    CompositionLocalProvider(LocalStrings provides strings) {
        ManzanaTheme(ground.fonts, dark) {
            var status by remember { mutableStateOf<PhoneStatus?>(null) }
            LaunchedEffect(ground) { status = ground.phone.status() }
            val me = status?.me
            if (me == null) {
                if (status != null) Enrol(ground.phone) { status = it }
                return@ManzanaTheme
            }
            LaunchedEffect(ground) { ground.phone.startSync() }
            Places(
                ground, me, status!!, dark,
                switchLanguage = { keep(settings.copy(english = !settings.english)) },
                switchLight = { keep(settings.copy(dark = !dark)) },
            )
        }
    }
}

@Composable
private fun Places(
    ground: Ground,
    me: Me,
    status: PhoneStatus,
    dark: Boolean,
    switchLanguage: () -> Unit,
    switchLight: () -> Unit,
) {
    var place by remember { mutableStateOf<Place>(Place.Home) }
    val scope = rememberCoroutineScope { ground.screens }
    val home = remember { HomePresenter(ground.phone, ground.drafts, ground.now, me, status, scope) }
    fun goHome(justSaved: Boolean = false) {
        home.shownAgain(justSaved)
        place = Place.Home
    }
    LaunchedEffect(Unit) {
        settle(ground.drafts, ground.phone)
        home.shownAgain(justSaved = false)
    }
    // The list is where it was when one comes back to it.
    rememberSaveableStateHolder().SaveableStateProvider(place.toString()) {
        when (val here = place) {
            Place.Home -> {
                HomeScreen(home.state.copy(dark = dark)) { action ->
                    when (action) {
                        is HomeAction.Open -> place = Place.Report(action.id)
                        is HomeAction.Choose -> home.choose(action.filter)
                        HomeAction.NewReport -> place = Place.NewReport
                        HomeAction.ToCorrect -> place = Place.ToCorrect
                        HomeAction.SwitchLanguage -> switchLanguage()
                        HomeAction.SwitchLight -> switchLight()
                    }
                }
            }
            Place.NewReport -> NewReport(ground, { goHome(justSaved = true) }, ::goHome)
            is Place.Report -> Report(ground, here.id, me.center, ::goHome)
            Place.ToCorrect -> ToCorrect(ground, ::goHome)
        }
    }
}

@Composable
private fun NewReport(ground: Ground, onSaved: () -> Unit, onBack: () -> Unit) {
    val scope = rememberCoroutineScope { ground.screens }
    val presenter = remember { CapturePresenter(ground.phone, ground.drafts, ground.now, ground.disk, scope, onSaved, onBack) }
    CaptureScreen(presenter.state, presenter::on)
}

@Composable
private fun Report(ground: Ground, id: String, center: String, onBack: () -> Unit) {
    val scope = rememberCoroutineScope { ground.screens }
    val presenter = remember(id) { DetailPresenter(ground.phone, id, center, ground.now, scope, onBack) }
    DetailScreen(presenter.state, presenter::on)
}

@Composable
private fun ToCorrect(ground: Ground, onBack: () -> Unit) {
    val scope = rememberCoroutineScope { ground.screens }
    val presenter = remember { CorrectionsPresenter(ground.phone, scope, onBack) }
    CorrectionsScreen(presenter.state, presenter::on)
}
