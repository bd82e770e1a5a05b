/** Every sentence of the app. Two catalogs implement this, so neither can lack one. */
package mx.manzana.app.strings

import androidx.compose.runtime.staticCompositionLocalOf
import java.time.Instant
import java.time.LocalDate
import java.time.ZoneId
import java.time.ZonedDateTime
import java.time.format.DateTimeFormatter
import mx.manzana.core.Conflict
import mx.manzana.core.Connection
import mx.manzana.core.Custody
import mx.manzana.core.EventKind
import mx.manzana.core.HistoryEntry
import mx.manzana.core.KeptAct
import mx.manzana.core.Petition
import mx.manzana.core.Problem
import mx.manzana.core.Role
import mx.manzana.core.Rule

/** The catalog that screens speak from. */
val LocalStrings = staticCompositionLocalOf<Strings> { Spanish }

interface Strings {
    /** The other catalog, named in its own language, for the switch. */
    val other: Strings
    val name: String
    val switchLanguage: String
    val lightTheme: String
    val darkTheme: String
    val back: String

    // Inicio
    fun homeTitle(role: Role): String
    fun who(display: String, role: Role): String
    fun network(connection: Connection): String
    val allSent: String
    fun unsent(count: Long, oldest: Long?, now: Long): String
    fun waitingToCorrect(count: Int): String
    fun recovering(center: String, since: Long, now: Long): String
    val all: String
    val open: String
    val closed: String
    val nothingYet: String
    val nothingHere: String
    val newReport: String
    val goOnWithDraft: String
    fun unsentHere(count: Int): String
    fun folio(petition: Petition): String
    fun custody(custody: Custody, center: String): String
    fun status(petition: Petition): String

    // Nuevo reporte
    val title: String
    val titleHint: String
    val description: String
    val descriptionHint: String
    val required: String
    val missing: String
    val service: String
    val agency: String
    val street: String
    val cross1: String
    val cross2: String
    val neighborhood: String
    val choose: String
    val none: String
    val search: String
    val noMatch: String
    val whereHint: String
    val draftKept: String
    val saveReport: String
    val discardDraft: String
    val savedHere: String

    // Detalle
    val loading: String
    val gone: String
    val whatHappened: String
    val comments: String
    val noComments: String
    val writeComment: String
    val addComment: String
    val otherActs: String
    fun act(kind: EventKind): String
    fun actHint(kind: EventKind): String
    fun event(entry: HistoryEntry): String
    fun by(mine: Boolean, role: Role): String
    val reason: String
    val reasons: List<String>
    val note: String
    val save: String
    val cancel: String
    fun conflict(conflict: Conflict, now: Long): String

    // Por corregir
    val toCorrect: String
    val nothingToCorrect: String
    fun kept(act: KeptAct): String
    fun refused(rule: Rule, field: String?): String
    val sendAgain: String
    val remove: String

    fun problem(problem: Problem): String

    // Alta
    val enrolTitle: String
    val enrolHint: String
    val invitation: String
    val enrol: String

    /** `dd/mm/aaaa hh:mm` in the city. */
    fun moment(at: Long): String = cityTime(at).format(MOMENT)
}

private val MOMENT: DateTimeFormatter = DateTimeFormatter.ofPattern("dd/MM/yyyy HH:mm")
private val DAY: DateTimeFormatter = DateTimeFormatter.ofPattern("dd/MM/yyyy")
private val CLOCK: DateTimeFormatter = DateTimeFormatter.ofPattern("HH:mm")

/** A zone that follows the law, never a fixed offset. */
private val CITY: ZoneId = ZoneId.of("America/Mexico_City")

internal fun cityTime(at: Long): ZonedDateTime = Instant.ofEpochMilli(at).atZone(CITY)

internal fun day(at: Long): String = cityTime(at).format(DAY)

internal fun clock(at: Long): String = cityTime(at).format(CLOCK)

/** How far the day of [at] is from today, in the city. */
internal fun daysAgo(at: Long, now: Long): Long {
    fun date(ms: Long): LocalDate = cityTime(ms).toLocalDate()
    return date(now).toEpochDay() - date(at).toEpochDay()
}
