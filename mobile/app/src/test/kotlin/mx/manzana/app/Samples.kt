/** A day of the demo city's people, for screens: tests look at it, and so do pictures. */
package mx.manzana.app

import java.time.ZonedDateTime
import mx.manzana.core.Catalogs
import mx.manzana.core.CommentEntry
import mx.manzana.core.Conflict
import mx.manzana.core.Connection
import mx.manzana.core.Custody
import mx.manzana.core.Entry
import mx.manzana.core.EventKind
import mx.manzana.core.FakePhone
import mx.manzana.core.HistoryEntry
import mx.manzana.core.KeptAct
import mx.manzana.core.Me
import mx.manzana.core.Petition
import mx.manzana.core.PetitionDetail
import mx.manzana.core.Role
import mx.manzana.core.Rule
import mx.manzana.core.Status
import mx.manzana.core.ToCorrect

object Samples {
    /** 26/10/2021 11:05 in the city. */
    val now = at(26, 11, 5)
    val captain = Me(Role.BLOCK_CAPTAIN, "Rosa Toledo", "Coatzatel")
    val crew = Me(Role.CREW, "Cuadrilla Alumbrado 2", "Coatzatel")
    val lighting = Entry(1, "Dirección de Alumbrado Publico")
    val catalogs = Catalogs(
        agencies = listOf(lighting, Entry(2, "Maquinaria Pesada"), Entry(9, "CMAS - Alcantarillado y Saneamiento")),
        services = listOf(Entry(7, "Lámpara fundida", 1), Entry(8, "Bache", 2), Entry(11, "Coladera tapada", 9)),
        neighborhoods = listOf(Entry(1, "COL. CENTRO"), Entry(2, "COL. IQUIISA"), Entry(4, "COL. ADOLFO LÓPEZ MATEOS")),
    )

    val unsent = report(
        "a", null, "Coladera sin tapa frente a la primaria", "NUEVO LEON ENTRE MEXICO Y MICHOACAN", "COL. PETROLERA",
        Status.PENDING, at(25, 18, 40), unsent = 1, description = "Se cayó un niño. Urge poner algo mientras.",
    )
    val referred = report(
        "b", "SIAC-030849", "LUMINARIA FUNDIDA", "CUAUHTEMOC 594 ENTRE 18 DE MARZO Y JUAN DE LA BARRERA",
        "COL. ADOLFO LÓPEZ MATEOS", Status.REFERRED, at(26, 9, 12), Custody.RECEIVED,
    )
    val working = report(
        "c", "SIAC-030847", "REHABILITACION DE CALLE", "CUAUHTEMOC ENTRE 18 DE MARZO Y JUAN DE LA BARRERA",
        "COL. ADOLFO LÓPEZ MATEOS", Status.IN_PROGRESS, at(24, 10, 3), Custody.ACCEPTED_BY_AGENCY,
    )
    val toConfirm = report(
        "d", "SIAC-030812", "LAMPARA FUNDIDA", "CHABACANO 7-N ENTRE ALAMO Y CLAVE", "COL. IQUIISA",
        Status.DONE, at(20, 8, 30), Custody.ACCEPTED_BY_AGENCY, unconfirmed = true,
        allowed = setOf(EventKind.CITIZEN_CONFIRMED, EventKind.CITIZEN_DISPUTED),
        more = listOf(
            HistoryEntry("d2", EventKind.REFERRED, false, Role.OPERATOR, at(20, 9, 0), lighting.name),
            HistoryEntry("d3", EventKind.STARTED, false, Role.CREW, at(22, 10, 15)),
            HistoryEntry("d4", EventKind.DONE, false, Role.CREW, at(22, 10, 50), note = "Se cambió el foco y la fotocelda."),
        ),
        comments = listOf(
            CommentEntry("d5", false, Role.OPERATOR, at(20, 9, 1), "Se turnó a Alumbrado. Gracias por avisar."),
            CommentEntry("d6", true, Role.BLOCK_CAPTAIN, at(21, 20, 14), "Sigue apagada, y ya son dos postes."),
        ),
    )
    val refused = report(
        "e", "SIAC-030790", "Perro agresivo suelto", "ALDAMA ESQUINA ALLENDE", "COL. CENTRO",
        Status.NOT_APPLICABLE, at(18, 12, 0), Custody.RECEIVED,
    )
    val all = listOf(unsent, referred, working, toConfirm, refused)

    private val mine = HistoryEntry("f2", EventKind.DONE, true, Role.CREW, at(26, 10, 20), note = "Foco cambiado")
    private val theirs = HistoryEntry("f3", EventKind.NOT_APPLICABLE, false, Role.OPERATOR, at(26, 10, 32), reason = "El poste es particular")
    val conflicting = report(
        "f", "SIAC-030850", "LAMPARA FUNDIDA", "INDEPENDENCIA 210", "COL. CENTRO",
        Status.IN_PROGRESS, at(26, 8, 0), Custody.ACCEPTED_BY_AGENCY, conflict = true, more = listOf(mine, theirs), mine = false,
    ).copy(conflicts = listOf(Conflict(mine, theirs)))

    val toDo = report(
        "g", "SIAC-030849", "LUMINARIA FUNDIDA", "CUAUHTEMOC 594 ENTRE 18 DE MARZO Y JUAN DE LA BARRERA",
        "COL. ADOLFO LÓPEZ MATEOS", Status.REFERRED, at(26, 9, 12), Custody.ACCEPTED_BY_AGENCY,
        allowed = setOf(EventKind.STARTED, EventKind.NOT_YET, EventKind.DONE, EventKind.NOT_APPLICABLE, EventKind.REFERRAL_PROPOSED),
        more = listOf(HistoryEntry("g2", EventKind.REFERRED, false, Role.OPERATOR, at(26, 9, 20), lighting.name)),
        mine = false,
    )

    val waiting = listOf(
        ToCorrect("x", KeptAct.Did(EventKind.DONE), listOf("c"), Rule.OUT_OF_SCOPE, null),
        ToCorrect("y", KeptAct.Capture("Bache en la esquina del mercado"), emptyList(), Rule.BAD_VALUE, "street"),
    )

    /** A phone with these reports, as its user sees them. */
    fun phone(me: Me, reports: List<PetitionDetail>, connection: Connection = Connection.ONLINE) =
        FakePhone(me) { now }.apply { arrive(reports, connection = connection, catalogs = catalogs) }

    private fun at(day: Int, hour: Int, minute: Int): Long =
        ZonedDateTime.parse("2021-10-%02dT%02d:%02d:00-05:00".format(day, hour, minute)).toInstant().toEpochMilli()

    private fun report(
        id: String,
        folio: String?,
        title: String,
        location: String,
        neighborhood: String,
        status: Status,
        capturedAt: Long,
        custody: Custody = Custody.ON_THIS_PHONE,
        unconfirmed: Boolean = false,
        conflict: Boolean = false,
        unsent: Int = 0,
        description: String = "Está así desde el lunes; de noche no se ve nada y hay un escalón.",
        allowed: Set<EventKind> = emptySet(),
        more: List<HistoryEntry> = emptyList(),
        comments: List<CommentEntry> = emptyList(),
        mine: Boolean = true,
    ): PetitionDetail {
        val petition = Petition(
            id, folio, "K7Q2M9XA", title, location, neighborhood, null, listOf(lighting.name), status, unconfirmed,
            conflict, custody, unsent, true, capturedAt, comments.size,
        )
        val recorded = HistoryEntry("${id}1", EventKind.RECORDED, mine, Role.BLOCK_CAPTAIN, capturedAt)
        return PetitionDetail(petition, description, listOf(recorded) + more, comments, allowed = allowed)
    }
}
