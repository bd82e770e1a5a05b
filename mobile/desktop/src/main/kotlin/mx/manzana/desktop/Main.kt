/** The app in a phone-sized window: `Main HOME [INVITATION]`. */
package mx.manzana.desktop

import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.ui.platform.LocalDensity
import androidx.compose.ui.unit.Density
import androidx.compose.ui.unit.DpSize
import androidx.compose.ui.unit.dp
import androidx.compose.ui.window.Window
import androidx.compose.ui.window.application
import androidx.compose.ui.window.rememberWindowState
import java.nio.file.Path
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking
import mx.manzana.app.App
import mx.manzana.app.Ground
import mx.manzana.app.look.Inter
import mx.manzana.app.strings.Spanish
import mx.manzana.core.DraftFile
import mx.manzana.core.PhoneFailure
import mx.manzana.core.RustPhone
import mx.manzana.core.SettingsFile

/** A small phone of today. */
private val PHONE = DpSize(390.dp, 800.dp)

fun main(arguments: Array<String>) {
    val home = arguments.firstOrNull() ?: fail("Main HOME [INVITATION]")
    val phone = try {
        runBlocking { open(home, arguments.getOrNull(1)) }
    } catch (failure: PhoneFailure) {
        fail(Spanish.problem(failure.problem))
    }
    val folder = Path.of(home)
    val ground = Ground(phone, DraftFile(folder), SettingsFile(folder), Inter)
    // The app's text size is the platform's business; here a variable stands for it.
    val textScale = System.getenv("MANZANA_TEXT_SCALE")?.toFloatOrNull() ?: 1f
    application {
        Window(
            onCloseRequest = {
                runBlocking { phone.shutDown() }
                exitApplication()
            },
            title = "Manzana",
            state = rememberWindowState(size = PHONE),
        ) { Scaled(textScale) { App(ground) } }
    }
}

private suspend fun open(home: String, invitation: String?): RustPhone {
    val phone = RustPhone.open(home)
    if (invitation != null && phone.status().me == null) phone.enrol(invitation)
    return phone
}

@Composable
private fun Scaled(textScale: Float, content: @Composable () -> Unit) {
    val density = LocalDensity.current
    CompositionLocalProvider(LocalDensity provides Density(density.density, density.fontScale * textScale)) { content() }
}

private fun fail(words: String): Nothing {
    System.err.println(words)
    exitProcess(1)
}
