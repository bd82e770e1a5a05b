/** The app as people use it, on the Rust client, against a real relay process. */
package mx.manzana.app

import androidx.compose.runtime.getValue
import androidx.compose.runtime.key
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.junit4.createComposeRule
import androidx.compose.ui.test.onAllNodesWithText
import androidx.compose.ui.test.onNodeWithTag
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.compose.ui.test.performTextInput
import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import mx.manzana.app.look.Inter
import mx.manzana.core.CaptureForm
import mx.manzana.core.City
import mx.manzana.core.DraftFile
import mx.manzana.core.Phone
import mx.manzana.core.RustPhone
import mx.manzana.core.SettingsFile
import mx.manzana.core.until
import org.junit.After
import org.junit.Rule
import org.junit.Test

class JourneyTest {
    @get:Rule
    val screen = createComposeRule()
    private val city = City()
    private var ground: Ground? by mutableStateOf(null)
    private val open = mutableListOf<Phone>()

    @After
    fun end() {
        runBlocking { open.forEach { it.shutDown() } }
        city.close()
    }

    /** The app on this phone, as after a start. */
    private fun start(phone: RustPhone, home: String) {
        open += phone
        val folder = Path.of(home)
        // Answers of the Rust client come on its threads: a test's own dispatcher would go on there.
        ground = Ground(phone, DraftFile(folder), SettingsFile(folder), Inter, screens = Dispatchers.Main)
    }

    private fun show() = screen.setContent { ground?.let { key(it) { App(it) } } }

    /** The app is ended; its files are all that stays. */
    private fun stop() {
        screen.runOnIdle { ground = null }
        screen.waitForIdle()
        runBlocking { open.forEach { it.shutDown() } }
        open.clear()
    }

    private fun wait(text: String) = screen.waitUntil(60_000) {
        screen.onAllNodesWithText(text, substring = true).fetchSemanticsNodes().isNotEmpty()
    }

    @Test
    fun aCaptureWithNoNetworkSurvivesARestartAndArrives() {
        val home = city.home("jefa")
        city.user("operadora", "operator")
        val phone = runBlocking { city.captain("jefa") }
        city.kill()

        start(phone, home)
        show()
        wait("Aquí aparecerán sus reportes.")
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("title").performTextInput("Lámpara fundida")
        screen.waitUntil(60_000) { DraftFile(Path.of(home)).load().form.title == "Lámpara fundida" }
        stop()

        // The draft was never saved as anything, and is there.
        start(runBlocking { RustPhone.open(home) }, home)
        wait("Seguir con el borrador")
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("description").performTextInput("Frente al kínder")
        screen.onNodeWithTag("save").performClick()
        wait("Guardado en este teléfono. Se enviará solo cuando haya señal.")
        wait("1 sin enviar, de hoy")
        stop()

        start(runBlocking { RustPhone.open(home) }, home)
        wait("Lámpara fundida")
        wait("En este teléfono")
        wait("Sin señal. Lo guardado se enviará solo.")

        city.start()
        ground!!.phone.notifyNetwork()
        wait("Recibida en Coatzatel")
        wait("Nada por enviar")
        screen.onNodeWithTag("report").performClick()
        val folio = runBlocking { ground!!.phone.list().single().folio!! }
        city.signIn("operadora").act(folio, """"act":"refer","agency":1""")
        wait("Turnada a Dirección de Alumbrado Publico")
    }

    @Test
    fun aCrewSeesItsConflictInWords() {
        city.user("operadora", "operator")
        val captain = runBlocking { city.captain("jefa") }.also { open += it }
        val crew = runBlocking { city.crew("cuadrilla") }
        val folio = runBlocking {
            captain.startSync()
            val agency = captain.until { captain.catalogs().agencies.firstOrNull() }
            captain.capture(CaptureForm("LAMPARA FUNDIDA", "No prende", agency))
            captain.until { captain.list().single().folio }
        }
        start(crew, city.home("cuadrilla"))
        show()
        wait("LAMPARA FUNDIDA")
        runBlocking { crew.stopSync() }

        screen.onNodeWithTag("report").performClick()
        wait("Qué ha pasado")
        screen.onNodeWithTag("act_DONE").performScrollTo().performClick()
        screen.onNodeWithTag("note").performTextInput("Foco cambiado")
        screen.onNodeWithTag("confirm").performClick()
        wait("Atendida por confirmar")

        city.signIn("operadora").act(folio, """"act":"not_applicable","reason":"Es particular"""")
        runBlocking { crew.startSync() }
        wait("Usted puso Atendida; Ventanilla puso No procede a las")
        wait("En conflicto")
    }
}
