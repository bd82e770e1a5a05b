/** A draft survives everything but being forgotten. */
package mx.manzana.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule as JUnitRule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class DraftFileTest {
    @get:JUnitRule
    val folder = TemporaryFolder()

    @Test
    fun aDraftIsReadBackWholeByAnotherProcess() {
        val form = CaptureForm(
            "Lámpara «fundida»", "Frente al kínder:\nno prende = peligro", Entry(1, "Alumbrado"),
            Entry(7, "Lámpara fundida", parent = 1), Entry(2, "COL. IQUIISA"), "CHABACANO 7-N", "ÁLAMO", "CLAVE",
        )
        DraftFile(folder.root.toPath()).keep(Draft(form, savingSince = 5))
        assertEquals(Draft(form, savingSince = 5), DraftFile(folder.root.toPath()).load())
    }

    @Test
    fun withoutADraftTheFormIsEmpty() {
        val drafts = DraftFile(folder.root.toPath().resolve("new"))
        assertTrue(drafts.load().isEmpty)
        drafts.keep(Draft(CaptureForm("Bache", "")))
        drafts.forget()
        assertTrue(drafts.load().isEmpty)
    }
}
