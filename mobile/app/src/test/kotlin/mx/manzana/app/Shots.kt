/** Pictures of every screen, off screen, in both lights, both languages and large text: `Shots DIR`. */
package mx.manzana.app

import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.ui.ImageComposeScene
import androidx.compose.ui.unit.Density
import java.nio.file.Files
import java.nio.file.Path
import mx.manzana.app.capture.CaptureScreen
import mx.manzana.app.capture.CaptureState
import mx.manzana.app.capture.Picking
import mx.manzana.app.corrections.CorrectionsScreen
import mx.manzana.app.corrections.CorrectionsState
import mx.manzana.app.detail.Asking
import mx.manzana.app.detail.DetailScreen
import mx.manzana.app.detail.DetailState
import mx.manzana.app.home.Filter
import mx.manzana.app.home.HomeScreen
import mx.manzana.app.home.HomeState
import mx.manzana.app.look.Inter
import mx.manzana.app.look.ManzanaTheme
import mx.manzana.app.strings.English
import mx.manzana.app.strings.LocalStrings
import mx.manzana.app.strings.Spanish
import mx.manzana.core.CaptureForm
import mx.manzana.core.Category
import mx.manzana.core.Code
import mx.manzana.core.Connection
import mx.manzana.core.EventKind
import mx.manzana.core.Me
import mx.manzana.core.PetitionDetail
import mx.manzana.core.PhoneStatus
import mx.manzana.core.Problem
import org.jetbrains.skia.EncodedImageFormat

/** A phone's picture: 390 by 844 dp at two pixels each. */
private const val WIDTH = 780
private const val HEIGHT = 1688

private class Look(val dark: Boolean = false, val english: Boolean = false, val textScale: Float = 1f)

private val FORM = CaptureForm(
    "Lámpara fundida", "Tres noches sin luz frente al kínder; la gente cruza a oscuras.", Samples.lighting,
    Samples.catalogs.services.first(), Samples.catalogs.neighborhoods[1], "CHABACANO 7-N", "ALAMO", "CLAVE",
)

fun main(arguments: Array<String>) {
    val folder = Path.of(arguments[0])
    Files.createDirectories(folder)
    val looks = mapOf("" to Look(), "-dark" to Look(dark = true), "-large" to Look(textScale = 2f), "-en" to Look(english = true))
    for ((name, screen) in screens()) {
        for ((suffix, look) in looks) {
            Files.write(folder.resolve("$name$suffix.png"), picture(look) { screen(look) })
        }
    }
}

private fun screens(): Map<String, @Composable (Look) -> Unit> = mapOf(
    "home" to { home(it, Samples.captain, Samples.all, unsent = 1) },
    "home-empty" to { home(it, Samples.captain, emptyList()) },
    "home-offline-saved" to { home(it, Samples.captain, Samples.all, Connection.OFFLINE, unsent = 3, justSaved = true, hasDraft = true) },
    "home-crew-to-correct" to { home(it, Samples.crew, listOf(Samples.conflicting, Samples.toDo), toCorrect = 2) },
    "home-recovering" to { home(it, Samples.captain, Samples.all, unsent = 1, recoveringSince = Samples.now - 3_600_000) },
    "new-empty" to { CaptureScreen(CaptureState(CaptureForm("", ""), Samples.catalogs)) { } },
    "new-filled" to { CaptureScreen(CaptureState(FORM, Samples.catalogs)) { } },
    "new-missing" to {
        val form = FORM.copy(description = "")
        CaptureScreen(CaptureState(form, Samples.catalogs, tried = true)) { }
    },
    "new-no-room" to {
        CaptureScreen(CaptureState(FORM, Samples.catalogs, problem = Problem(Category.STORAGE, Code.STORAGE_FULL))) { }
    },
    "new-colonia" to { CaptureScreen(CaptureState(FORM, Samples.catalogs, Picking.NEIGHBORHOOD)) { } },
    "detail-crew" to { detail(Samples.toDo) },
    "detail-confirm" to { detail(Samples.toConfirm) },
    "detail-conflict" to { detail(Samples.conflicting) },
    "detail-not-yet" to { detail(Samples.toDo, Asking(EventKind.NOT_YET, "Falta material")) },
    "detail-done" to { detail(Samples.toDo, Asking(EventKind.DONE)) },
    "to-correct" to { CorrectionsScreen(CorrectionsState(Samples.waiting)) { } },
    "enrol" to { EnrolScreen(EnrolState(problem = Problem(Category.OFFLINE, Code.OFFLINE), invitation = "manzana:1:AH7QK…"), { }) { } },
)

@Composable
private fun home(
    look: Look,
    me: Me,
    reports: List<PetitionDetail>,
    connection: Connection = Connection.ONLINE,
    unsent: Long = 0,
    toCorrect: Int = 0,
    justSaved: Boolean = false,
    hasDraft: Boolean = false,
    recoveringSince: Long? = null,
) {
    val status = PhoneStatus(me, connection, unsent, Samples.unsent.petition.capturedAt.takeIf { unsent > 0 }, toCorrect)
        .copy(recoveringSince = recoveringSince)
    val rows = reports.map { it.petition }
    HomeScreen(HomeState(me, status, Samples.now, rows, Filter.ALL, hasDraft, justSaved, dark = look.dark)) { }
}

@Composable
private fun detail(detail: PetitionDetail, asking: Asking? = null) =
    DetailScreen(DetailState("Coatzatel", Samples.now, detail, asking = asking, agencies = Samples.catalogs.agencies)) { }

private fun picture(look: Look, screen: @Composable () -> Unit): ByteArray {
    val scene = ImageComposeScene(WIDTH, HEIGHT, Density(2f, look.textScale)) {
        CompositionLocalProvider(LocalStrings provides if (look.english) English else Spanish) {
            ManzanaTheme(Inter, look.dark) { screen() }
        }
    }
    try {
        return checkNotNull(scene.render().encodeToData(EncodedImageFormat.PNG)).bytes
    } finally {
        scene.close()
    }
}
