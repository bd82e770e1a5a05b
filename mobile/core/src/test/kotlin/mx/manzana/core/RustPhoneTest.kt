/** The bindings from Kotlin, through the app's own door, against a real relay process. */
package mx.manzana.core

import java.nio.file.Files
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.mapNotNull
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class RustPhoneTest {
    private val city = City()

    @After
    fun end() = city.close()

    @Test
    fun aCaptureOutlivesKill9AndAnOperatorsChangeArrivesThroughTheWatch(): Unit = runBlocking {
        city.user("operadora", "operator")
        city.captain("jefa").shutDown()
        city.kill()
        val id = captureAndBeKilled(city.home("jefa"))

        val phone = RustPhone.open(city.home("jefa"))
        val kept = phone.list().single()
        assertEquals(id, kept.id)
        assertEquals("LAMPARA FUNDIDA", kept.title)
        assertEquals(Custody.ON_THIS_PHONE, kept.custody)
        assertNull(kept.folio)
        assertEquals(1L, phone.status().unsent)

        city.start()
        phone.startSync()
        phone.notifyNetwork()
        val received = phone.until { phone.list().find { it.custody == Custody.RECEIVED } }
        assertTrue(received.folio!!.startsWith("SIAC-"))
        assertEquals(0L, phone.status().unsent)

        city.signIn("operadora").act(received.folio!!, """"act":"refer","agency":1""")
        val detail = phone.until { phone.detail(id)?.takeIf { it.petition.status == Status.REFERRED } }
        assertEquals(listOf(EventKind.RECORDED, EventKind.REFERRED), detail.history.map { it.kind })
        assertEquals("Dirección de Alumbrado Publico", detail.history.last().agency)
        assertEquals(listOf(true, false), detail.history.map { it.mine })
        phone.shutDown()
    }

    @Test
    fun aConflictIsToldWithOnesOwnWordFirst(): Unit = runBlocking {
        city.user("operadora", "operator")
        val captain = city.captain("jefa")
        val crew = city.crew("cuadrilla")
        captain.startSync()
        captain.until { captain.catalogs().services.ifEmpty { null } }
        captain.capture(CaptureForm("LAMPARA FUNDIDA", "No prende", agency = Entry(1, "Dirección de Alumbrado Publico")))
        crew.startSync()
        val petition = crew.until { crew.list().singleOrNull() }
        crew.stopSync()

        crew.act(petition.id, Step(EventKind.DONE, note = "Foco cambiado"))
        city.signIn("operadora").act(petition.folio!!, """"act":"not_applicable","reason":"Es particular"""")
        crew.startSync()
        val detail = crew.until { crew.detail(petition.id)?.takeIf { it.conflicts.isNotEmpty() } }

        val (one, other) = detail.conflicts.single()
        assertEquals(EventKind.DONE to true, one.kind to one.mine)
        assertEquals(EventKind.NOT_APPLICABLE to Role.OPERATOR, other.kind to other.role)
        assertTrue("only a final state ends a conflict", detail.allowed.isEmpty())
        captain.shutDown()
        crew.shutDown()
    }

    @Test
    fun errorsAreTypesWithACategory(): Unit = runBlocking {
        val phone = city.captain("jefa")
        val id = phone.capture(CaptureForm("Bache", "Hondo"))

        val denied = failure { phone.act(id, Step(EventKind.DONE)) }
        assertEquals(Problem(Category.REJECTED, Code.DENIED, Rule.ROLE_MAY_NOT, "done"), denied)
        val empty = failure { phone.capture(CaptureForm("", "Hondo")) }
        assertEquals(Problem(Category.REJECTED, Code.DENIED, Rule.BAD_VALUE, "title"), empty)
        assertEquals("nothing of a denied act is kept", 1, phone.list().size)

        assertEquals(Problem(Category.CONFLICT, Code.IN_USE), failure { RustPhone.open(city.home("jefa")) })
        phone.shutDown()

        val other = RustPhone.open(city.home("other"))
        assertEquals(Problem(Category.UNAUTHORISED, Code.NOT_ENROLLED), failure { other.list() })
        assertEquals(Problem(Category.REJECTED, Code.BAD_INVITATION), failure { other.enrol("manzana:1:x") })
        val invitation = city.invite("jefa", "--scope", "block:1101")
        city.kill()
        assertEquals(Problem(Category.OFFLINE, Code.OFFLINE), failure { other.enrol(invitation) })
        other.shutDown()
    }

    private fun failure(call: suspend () -> Unit): Problem =
        assertThrows(PhoneFailure::class.java) { runBlocking { call() } }.problem
}

/** Reads again at every change until there is something; only a broken build waits a minute. */
suspend fun <T : Any> Phone.until(read: suspend () -> T?): T =
    withTimeout(60_000) { changes.mapNotNull { read() }.first() }
