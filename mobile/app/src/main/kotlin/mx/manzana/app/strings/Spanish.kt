/**
 * Mexican Spanish, *usted*: short, concrete, verbs on buttons. States and custody are named as in the
 * console, where they are a petición's; what a person holds is a *reporte*.
 */
package mx.manzana.app.strings

import mx.manzana.core.Category
import mx.manzana.core.Code
import mx.manzana.core.Conflict
import mx.manzana.core.Connection
import mx.manzana.core.Custody
import mx.manzana.core.EventKind
import mx.manzana.core.HistoryEntry
import mx.manzana.core.KeptAct
import mx.manzana.core.Outcome
import mx.manzana.core.Petition
import mx.manzana.core.Problem
import mx.manzana.core.Role
import mx.manzana.core.Rule
import mx.manzana.core.Status

object Spanish : Strings {
    override val other get() = English
    override val name = "Español"
    override val switchLanguage = "Cambiar a inglés"
    override val lightTheme = "Usar colores claros"
    override val darkTheme = "Usar colores oscuros"
    override val back = "Regresar"

    override fun homeTitle(role: Role) = if (role == Role.CREW) "Trabajo" else "Mis reportes"

    override fun who(display: String, role: Role) = "$display · ${role(role)}"

    override fun network(connection: Connection) = when (connection) {
        Connection.STOPPED -> "Sin conectar"
        Connection.OFFLINE -> "Sin señal. Lo guardado se enviará solo."
        Connection.CONNECTING -> "Buscando al centro"
        Connection.ONLINE -> "Conectado con el centro"
        Connection.REFUSED -> "El centro no admite a este teléfono. Lo guardado sigue aquí."
        Connection.UNTRUSTED -> "Lo que responde no es el centro de la ciudad. No se envió nada."
        Connection.UNKNOWN -> "Sin datos de la conexión"
    }

    override val allSent = "Nada por enviar"

    override fun unsent(count: Long, oldest: Long?, now: Long): String {
        val age = oldest?.let {
            when (daysAgo(it, now)) {
                0L -> "de hoy"
                1L -> "de ayer"
                else -> "del ${day(it)}"
            }
        }
        return when {
            age == null -> "$count sin enviar"
            count == 1L -> "1 sin enviar, $age"
            else -> "$count sin enviar, el más antiguo $age"
        }
    }

    override fun waitingToCorrect(count: Int) = "$count por corregir"

    override fun recovering(center: String, since: Long, now: Long): String {
        val from = if (daysAgo(since, now) == 0L) "las ${clock(since)}" else "el ${day(since)} a las ${clock(since)}"
        return "$center recupera sus datos desde $from. Lo guardado aquí no se pierde; los folios nuevos salen al terminar."
    }
    override val all = "Todos"
    override val open = "Abiertos"
    override val closed = "Cerrados"
    override val nothingYet = "Aquí aparecerán sus reportes.\nToque «Nuevo reporte» para hacer el primero; no necesita señal."
    override val nothingHere = "No hay reportes de este tipo."
    override val newReport = "Nuevo reporte"
    override val goOnWithDraft = "Seguir con el borrador"
    override fun unsentHere(count: Int) = "$count sin enviar"
    override fun folio(petition: Petition) = petition.folio ?: "Folio provisional ${petition.provisionalFolio}"

    override fun custody(custody: Custody, center: String) = when (custody) {
        Custody.ON_THIS_PHONE -> "En este teléfono"
        Custody.COPIED_TO_ANOTHER -> "Copiada a otro teléfono"
        Custody.RECEIVED -> "Recibida en $center"
        Custody.ACCEPTED_BY_AGENCY -> "Aceptada por la dependencia"
    }

    override fun status(petition: Petition) = when {
        petition.conflict -> "En conflicto"
        petition.status == Status.PENDING -> "Pendiente de atención"
        petition.status == Status.REFERRED -> "Turnada"
        petition.status == Status.IN_PROGRESS -> "En desarrollo"
        petition.status == Status.NOT_APPLICABLE -> "No procede"
        petition.unconfirmed -> "Atendida por confirmar"
        else -> "Atendida"
    }

    override val title = "¿Qué pasa?"
    override val titleHint = "Por ejemplo: lámpara fundida"
    override val description = "Descripción"
    override val descriptionHint = "Desde cuándo, qué tan grave, una seña para llegar"
    override val required = "Necesario"
    override val missing = "Falta llenar esto"
    override val service = "Servicio"
    override val agency = "Dependencia"
    override val street = "Calle y número"
    override val cross1 = "Entre calle"
    override val cross2 = "Y calle"
    override val neighborhood = "Colonia"
    override val choose = "Elegir"
    override val none = "Ninguna"
    override val search = "Buscar"
    override val noMatch = "No hay ninguna con ese nombre."
    override val whereHint = "¿Dónde? Con la calle y la colonia basta."
    override val draftKept = "El borrador se guarda solo en este teléfono."
    override val saveReport = "Guardar reporte"
    override val discardDraft = "Borrar el borrador"
    override val savedHere = "Guardado en este teléfono. Se enviará solo cuando haya señal."

    override val loading = "Abriendo el reporte"
    override val gone = "Este reporte ya no está en este teléfono."
    override val whatHappened = "Qué ha pasado"
    override val comments = "Comentarios"
    override val noComments = "Todavía no hay comentarios."
    override val writeComment = "Escriba un comentario"
    override val addComment = "Guardar comentario"
    override val otherActs = "Otras opciones"

    override fun act(kind: EventKind) = when (kind) {
        EventKind.RECORDED -> "Capturar"
        EventKind.REFERRED -> "Turnar"
        EventKind.ACCEPTED -> "Aceptar"
        EventKind.REFERRAL_PROPOSED -> "Corresponde a otra dependencia"
        EventKind.ASSIGNED -> "Asignar a cuadrilla"
        EventKind.STARTED -> "Iniciar trabajo"
        EventKind.NOT_YET -> "Todavía no se puede"
        EventKind.DONE -> "Marcar como Atendida"
        EventKind.NOT_APPLICABLE -> "No procede"
        EventKind.FINAL_STATE -> "Definir estado final"
        EventKind.REOPENED -> "Reabrir"
        EventKind.CITIZEN_CONFIRMED -> "Sí quedó resuelto"
        EventKind.CITIZEN_DISPUTED -> "No quedó resuelto"
    }

    override fun actHint(kind: EventKind) = when (kind) {
        EventKind.DONE -> "Diga qué se hizo, si ayuda a entenderlo."
        EventKind.NOT_YET -> "Diga por qué todavía no se puede. Lo leerá quien reportó."
        EventKind.NOT_APPLICABLE -> "Diga por qué no procede. Lo leerá quien reportó."
        EventKind.REFERRAL_PROPOSED -> "Elija a quién le corresponde. El centro decide."
        EventKind.CITIZEN_DISPUTED -> "Diga qué falta."
        else -> ""
    }

    override fun event(entry: HistoryEntry): String = when (entry.kind) {
        EventKind.RECORDED -> "Se hizo el reporte"
        EventKind.REFERRED -> "Turnada a ${entry.agency}"
        EventKind.ACCEPTED -> "Aceptada por la dependencia"
        EventKind.REFERRAL_PROPOSED -> "Se propone turnar a ${entry.agency}"
        EventKind.ASSIGNED -> "Asignada a cuadrilla"
        EventKind.STARTED -> "Trabajo iniciado"
        EventKind.NOT_YET -> "Todavía no se puede"
        EventKind.DONE -> "Atendida"
        EventKind.NOT_APPLICABLE -> "No procede"
        EventKind.FINAL_STATE -> "Estado final: ${word(entry)}"
        EventKind.REOPENED -> "Reabierta"
        EventKind.CITIZEN_CONFIRMED -> "Confirmada por la ciudadanía"
        EventKind.CITIZEN_DISPUTED -> "La ciudadanía dice que no quedó"
    }

    override fun by(mine: Boolean, role: Role) = if (mine) "Usted" else role(role)
    override val reason = "Motivo"
    override val reasons = listOf("Falta material", "No se localizó", "No hubo acceso")
    override val note = "Qué se hizo"
    override val save = "Guardar"
    override val cancel = "Cancelar"

    override fun conflict(conflict: Conflict, now: Long): String {
        val (one, other) = conflict
        val first = when {
            one.mine -> "Usted puso ${word(one)}"
            else -> "${role(one.role)} puso ${word(one)} ${at(one.at, now)}"
        }
        val second = if (other.mine) "usted, desde otro teléfono," else role(other.role)
        return "$first; $second puso ${word(other)} ${at(other.at, now)}. Decide: Supervisión."
    }

    override val toCorrect = "Por corregir"
    override val nothingToCorrect = "No hay nada por corregir."

    override fun kept(act: KeptAct) = when (act) {
        is KeptAct.Capture -> "Reporte: ${act.title}"
        is KeptAct.Did -> act(act.kind)
        is KeptAct.Comment -> "Comentario: ${act.text}"
        KeptAct.Correction -> "Corrección de datos"
        KeptAct.Other -> "Movimiento"
    }

    override fun refused(rule: Rule, field: String?) =
        "Este cambio no fue aceptado: ${rule(rule, field)}. Quedó guardado aquí."

    override val sendAgain = "Enviar otra vez"
    override val remove = "Quitar"

    override fun problem(problem: Problem) = when (problem.code) {
        Code.DENIED -> "No se guardó: ${rule(problem.rule ?: Rule.UNKNOWN, problem.field)}."
        Code.UNCHANGED -> "El reporte ya dice eso: no hay nada que cambiar."
        Code.NOT_FOUND, Code.AMBIGUOUS -> gone
        Code.NOT_ENROLLED -> "Este teléfono no está dado de alta. Pida una invitación."
        Code.ALREADY_ENROLLED -> "Este teléfono ya está dado de alta."
        Code.BAD_INVITATION -> "Esa no es una invitación o está incompleta. Cópiela entera y repita."
        Code.IN_USE -> "La aplicación ya está abierta con estos datos. Use la otra ventana."
        Code.UNAUTHORISED -> "El centro no admite a este teléfono o la invitación ya no vale. Lo guardado sigue aquí; pida otra invitación."
        Code.UNTRUSTED -> "Lo que responde no es el centro de la ciudad. No se envió nada."
        Code.OTHER_VERSION -> "La aplicación y el centro son de versiones distintas. Actualice la aplicación; lo guardado sigue aquí."
        Code.OFFLINE -> "No se pudo llegar al centro. Lo guardado sigue en este teléfono."
        Code.STORAGE_FULL -> "No hay espacio y esto no se guardó. Libere espacio y repita."
        Code.STORAGE_NEWER -> "Los datos son de una versión más nueva. Actualice la aplicación."
        Code.STORAGE_DAMAGED -> "Los datos de este teléfono están dañados. Avise a su coordinación."
        Code.STORAGE_RESCUED -> "Los datos de este teléfono estaban dañados. Se rescató lo que se pudo; lo demás volverá del centro. Revise sus reportes y repita."
        Code.STORAGE_FORGOTTEN -> "Los datos de este teléfono estaban dañados y ya no sabe quién es. Pida otra invitación; lo rescatado se enviará después."
        else -> when (problem.category) {
            Category.STORAGE -> "No se pudo guardar en este teléfono. Repita."
            Category.CANCELLED -> "Se canceló. Lo guardado sigue en este teléfono."
            else -> "Ocurrió un error de la aplicación. Lo guardado sigue en este teléfono."
        }
    }

    override val enrolTitle = "Dar de alta este teléfono"
    override val enrolHint = "Pegue la invitación que le dio su coordinación. Se necesita señal una sola vez."
    override val invitation = "Invitación"
    override val enrol = "Dar de alta"

    private fun role(role: Role) = when (role) {
        Role.BLOCK_CAPTAIN -> "Jefe de manzana"
        Role.CREW -> "Cuadrilla"
        Role.OPERATOR -> "Ventanilla"
        Role.SUPERVISOR -> "Supervisión"
        Role.AGENCY_DESK -> "Dependencia"
        Role.COORDINATOR -> "Coordinación"
        Role.AUDITOR -> "Auditoría"
        Role.ADMINISTRATOR -> "Administración"
        Role.CITIZEN -> "Ciudadanía"
    }

    private fun word(entry: HistoryEntry) = when (entry.outcome) {
        Outcome.DONE -> "Atendida"
        Outcome.NOT_APPLICABLE -> "No procede"
        null -> event(entry)
    }

    private fun at(at: Long, now: Long) = when (daysAgo(at, now)) {
        0L -> "a las ${clock(at)}"
        else -> "el ${day(at)} a las ${clock(at)}"
    }

    private fun rule(rule: Rule, field: String?): String = when (rule) {
        Rule.BAD_VALUE -> field(field)?.let { "falta $it o no es válido" } ?: "falta un dato o no es válido"
        Rule.ROLE_MAY_NOT -> "su función no permite hacerlo"
        Rule.OUT_OF_SCOPE -> "el reporte ya no está a su cargo: se turnó o es de otra zona"
        Rule.ALREADY_FINAL -> "el reporte ya tiene estado final"
        Rule.ALREADY_CLOSED -> "el reporte ya estaba cerrado"
        Rule.IN_CONFLICT -> "el reporte está en conflicto y lo decide Supervisión"
        Rule.NOT_CLOSED -> "el reporte todavía no está cerrado"
        Rule.BLIND_WRITE -> "alguien más cambió ese dato al mismo tiempo"
        Rule.DOCUMENT_FULL -> "el reporte ya no admite más movimientos"
        Rule.NEWER_SCHEMA -> "esta aplicación es más nueva que el sistema"
        Rule.UNKNOWN_DOCUMENT -> "el sistema no conoce ese reporte"
        Rule.NOT_TAKEN -> "la ciudad lo revisó y no lo tomó"
        Rule.TAKEN_OVER -> "la ciudad ya lo registró por su cuenta, con el nombre de usted: puede descartarlo"
        Rule.FOREIGN_GRANT, Rule.FOREIGN_ACTOR, Rule.FOREIGN_RECORD -> "se escribió a nombre de otra persona o teléfono"
        Rule.BAD_CHANGE, Rule.BAD_SEQUENCE, Rule.BAD_DOC_ID, Rule.BAD_RECORD, Rule.FORBIDDEN_OPERATION ->
            "este teléfono lo escribió de una forma que el sistema no acepta"
        Rule.UNKNOWN -> "una regla que esta aplicación todavía no conoce"
    }

    private fun field(name: String?) = when (name) {
        "title" -> "qué pasa"
        "description" -> "la descripción"
        "street", "cross1", "cross2" -> "la calle"
        "neighborhood" -> "la colonia"
        "comments" -> "el comentario"
        "not_yet", "not_applicable" -> "el motivo"
        "agency", "referred", "referral_proposed" -> "la dependencia"
        else -> null
    }
}
