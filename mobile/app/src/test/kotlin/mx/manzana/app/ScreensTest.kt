/** The app on a phone that is not there: what screens say, and what their acts do. */
package mx.manzana.app

import androidx.compose.ui.semantics.SemanticsActions
import androidx.compose.ui.test.SemanticsMatcher
import androidx.compose.ui.test.assertCountEquals
import androidx.compose.ui.test.assertHeightIsAtLeast
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.assertIsNotDisplayed
import androidx.compose.ui.test.assertTextContains
import androidx.compose.ui.test.hasClickAction
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.junit4.createComposeRule
import androidx.compose.ui.test.onAllNodesWithTag
import androidx.compose.ui.test.onFirst
import androidx.compose.ui.test.onNodeWithTag
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.compose.ui.test.performTextInput
import androidx.compose.ui.unit.dp
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import mx.manzana.app.look.Inter
import mx.manzana.core.Category
import mx.manzana.core.Code
import mx.manzana.core.Connection
import mx.manzana.core.Custody
import mx.manzana.core.Draft
import mx.manzana.core.CaptureForm
import mx.manzana.core.EventKind
import mx.manzana.core.FakePhone
import mx.manzana.core.MemoryDrafts
import mx.manzana.core.MemorySettings
import mx.manzana.core.Problem
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test

class ScreensTest {
    @get:Rule
    val screen = createComposeRule()
    private val drafts = MemoryDrafts()
    private val settings = MemorySettings()

    private fun open(phone: FakePhone) = screen.setContent {
        App(Ground(phone, drafts, settings, Inter, { Samples.now }, Dispatchers.Unconfined))
    }

    private fun shows(text: String) = screen.onNodeWithText(text, substring = true).assertIsDisplayed()

    @Test
    fun anEmptyHomeSaysWhatWillAppearAndHow() {
        open(Samples.phone(Samples.captain, emptyList()))
        shows("Aquí aparecerán sus reportes.")
        shows("Conectado con el centro")
        shows("Nada por enviar")
    }

    @Test
    fun homeSaysStateCustodyAndWhatIsUnsentSinceWhen() {
        open(Samples.phone(Samples.captain, listOf(Samples.unsent, Samples.referred), Connection.OFFLINE))
        shows("Sin señal. Lo guardado se enviará solo.")
        shows("1 sin enviar, de ayer")
        shows("Pendiente de atención")
        shows("En este teléfono")
        shows("Folio provisional K7Q2M9XA")
    }

    @Test
    fun aChangeFromElsewhereAppearsByItself() {
        val phone = Samples.phone(Samples.captain, listOf(Samples.unsent))
        open(phone)
        shows("En este teléfono")
        val received = Samples.unsent.petition.copy(custody = Custody.RECEIVED, folio = "SIAC-030852", unsent = 0)
        phone.arrive(listOf(Samples.unsent.copy(petition = received)))
        shows("Recibida en Coatzatel")
        shows("SIAC-030852")
    }

    @Test
    fun closedReportsHaveTheirFilter() {
        open(Samples.phone(Samples.captain, listOf(Samples.referred, Samples.refused)))
        screen.onNodeWithTag("filter_CLOSED").performClick()
        shows("Perro agresivo suelto")
        // A lazy list keeps what it no longer shows for reuse.
        screen.onNodeWithText("LUMINARIA FUNDIDA").assertIsNotDisplayed()
    }

    @Test
    fun aReportNeedsTwoFieldsAndSaysWhichAreMissing(): Unit = runBlocking {
        val phone = Samples.phone(Samples.captain, emptyList(), Connection.OFFLINE)
        open(phone)
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("title").performTextInput("Bache")
        screen.onNodeWithTag("save").performClick()
        shows("Falta llenar esto")
        assertEquals("nothing is captured", 0, phone.list().size)

        screen.onNodeWithTag("description").performTextInput("Hondo")
        screen.onNodeWithTag("save").performClick()
        shows("Guardado en este teléfono. Se enviará solo cuando haya señal.")
        assertEquals("Bache", phone.list().single().title)
        assertTrue("a saved report leaves no draft", drafts.load().isEmpty)
    }

    @Test
    fun everyKeystrokeIsInTheDraftAndComesBack() {
        open(Samples.phone(Samples.captain, emptyList()))
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("title").performTextInput("Fuga de agua")
        assertEquals("Fuga de agua", drafts.load().form.title)
        screen.onNodeWithTag("back").performClick()
        shows("Seguir con el borrador")
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("title").assertTextContains("Fuga de agua")
    }

    @Test
    fun choosingAServiceAddressesItsAgency() {
        open(Samples.phone(Samples.captain, emptyList()))
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("service").performScrollTo().performClick()
        screen.onNodeWithTag("search").performTextInput("LAMPARA")
        screen.onNode(hasText("Lámpara fundida") and hasClickAction()).performClick()
        val form = drafts.load().form
        assertEquals("Lámpara fundida" to Samples.lighting, form.service?.name to form.agency)
    }

    @Test
    fun aDraftThatWasCapturedBeforeTheAppDiedIsNotOfferedAgain() {
        drafts.keep(Draft(CaptureForm(Samples.unsent.petition.title, "x"), Samples.unsent.petition.capturedAt))
        open(Samples.phone(Samples.captain, listOf(Samples.unsent)))
        shows("Nuevo reporte")
        assertTrue(drafts.load().isEmpty)
    }

    @Test
    fun aDraftThatWasNotCapturedStays() {
        drafts.keep(Draft(CaptureForm("Otro", "x"), Samples.now))
        open(Samples.phone(Samples.captain, listOf(Samples.unsent)))
        shows("Seguir con el borrador")
    }

    @Test
    fun aFullPhoneSaysSoAndKeepsTheForm() {
        val phone = Samples.phone(Samples.captain, emptyList())
        open(phone)
        screen.onNodeWithTag("new").performClick()
        screen.onNodeWithTag("title").performTextInput("Bache")
        screen.onNodeWithTag("description").performTextInput("Hondo")
        phone.failing = Problem(Category.STORAGE, Code.STORAGE_FULL)
        screen.onNodeWithTag("save").performClick()
        shows("No hay espacio y esto no se guardó. Libere espacio y repita.")
        assertEquals(Draft(CaptureForm("Bache", "Hondo")), drafts.load())
    }

    @Test
    fun aCaptainConfirmsWhatWasDone(): Unit = runBlocking {
        val phone = Samples.phone(Samples.captain, listOf(Samples.toConfirm))
        open(phone)
        screen.onNodeWithTag("report").performClick()
        shows("Atendida por confirmar")
        screen.onNodeWithTag("act_CITIZEN_CONFIRMED").performClick()
        assertEquals(EventKind.CITIZEN_CONFIRMED, phone.detail("d")!!.history.last().kind)
    }

    @Test
    fun aCrewSaysWhyItIsNotPossibleYet(): Unit = runBlocking {
        val phone = Samples.phone(Samples.crew, listOf(Samples.toDo))
        open(phone)
        screen.onNodeWithTag("report").performClick()
        screen.onNodeWithTag("act_NOT_YET").performScrollTo().performClick()
        screen.onNodeWithTag("confirm").performClick()
        shows("Falta llenar esto")
        screen.onNodeWithText("Falta material").performClick()
        screen.onNodeWithTag("confirm").performClick()
        val step = phone.detail("g")!!.history.last()
        assertEquals(EventKind.NOT_YET to "Falta material", step.kind to step.reason)
    }

    @Test
    fun aConflictIsToldInWords() {
        open(Samples.phone(Samples.crew, listOf(Samples.conflicting)))
        screen.onNodeWithTag("report").performClick()
        shows("Usted puso Atendida; Ventanilla puso No procede a las 10:32. Decide: Supervisión.")
    }

    @Test
    fun aCommentIsSavedAndTheFieldIsFreeAgain(): Unit = runBlocking {
        val phone = Samples.phone(Samples.captain, listOf(Samples.referred))
        open(phone)
        screen.onNodeWithTag("report").performClick()
        screen.onNodeWithTag("comment").performScrollTo().performTextInput("Ya son tres postes")
        screen.onNodeWithTag("add_comment").performScrollTo().performClick()
        assertEquals("Ya son tres postes", phone.detail("b")!!.comments.single().text)
        screen.onAllNodesWithTag("add_comment").assertCountEquals(0)
    }

    @Test
    fun whatWasRefusedCanBeSentAgainOrRemoved(): Unit = runBlocking {
        val phone = Samples.phone(Samples.crew, listOf(Samples.toDo))
        phone.arrive(waiting = Samples.waiting)
        open(phone)
        shows("2 por corregir")
        screen.onNodeWithTag("to_correct").performClick()
        shows("el reporte ya no está a su cargo: se turnó o es de otra zona")
        screen.onAllNodesWithTag("remove").onFirst().performClick()
        assertEquals(listOf("y"), phone.toCorrect().map { it.act })
    }

    @Test
    fun aCityThatRecoversItsDataSaysSoUntilItEnds() {
        val phone = Samples.phone(Samples.captain, listOf(Samples.toDo))
        open(phone)
        screen.onAllNodesWithTag("recovering").assertCountEquals(0)
        phone.arrive(recoveringSince = Samples.now - 86_400_000)
        screen.onNodeWithTag("recovering").assertExists()
        phone.arrive(recoveringSince = null)
        screen.onAllNodesWithTag("recovering").assertCountEquals(0)
    }

    @Test
    fun theSwitchTurnsEverythingEnglishAndIsKept() {
        open(Samples.phone(Samples.captain, listOf(Samples.unsent), Connection.OFFLINE))
        screen.onNodeWithTag("language").performClick()
        shows("No signal. What is saved will be sent by itself.")
        shows("Waiting for attention")
        assertTrue(settings.load().english)
    }

    @Test
    fun aPhoneThatNobodyLetInAsksForItsInvitation() {
        val phone = FakePhone(null)
        open(phone)
        phone.failing = Problem(Category.REJECTED, Code.BAD_INVITATION)
        screen.onNodeWithTag("invitation").performTextInput("manzana:1:x")
        screen.onNodeWithTag("enrol").performClick()
        shows("Esa no es una invitación o está incompleta.")
        screen.onNodeWithTag("enrol").performClick()
        shows("Mis reportes")
    }

    @Test
    fun whatIsTouchedIsLargeEnough() {
        open(Samples.phone(Samples.crew, listOf(Samples.toDo)))
        everyTargetIsLarge()
        screen.onNodeWithTag("report").performClick()
        everyTargetIsLarge()
        screen.onNodeWithTag("act_STARTED").assertHeightIsAtLeast(56.dp)
    }

    private fun everyTargetIsLarge() {
        val touched = SemanticsMatcher.keyIsDefined(SemanticsActions.OnClick)
        val targets = screen.onAllNodes(touched)
        val count = targets.fetchSemanticsNodes().size
        assertTrue("only $count targets", count >= 4)
        for (index in 0 until count) targets[index].assertHeightIsAtLeast(48.dp)
    }
}
