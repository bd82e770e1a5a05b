/** The phone that people use: the Rust client behind [Phone]. The only file that names the bindings. */
package mx.manzana.core

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import mx.manzana.bindings.Device
import mx.manzana.bindings.ManzanaException
import mx.manzana.bindings.CaptureForm as RustForm
import mx.manzana.bindings.Catalog as RustCatalog
import mx.manzana.bindings.CatalogEntry as RustEntry
import mx.manzana.bindings.CatalogRef as RustRef
import mx.manzana.bindings.EventKind as RustKind
import mx.manzana.bindings.HistoryEntry as RustHistory
import mx.manzana.bindings.KeptAct as RustKept
import mx.manzana.bindings.Me as RustMe
import mx.manzana.bindings.Petition as RustPetition
import mx.manzana.bindings.PetitionDetail as RustDetail
import mx.manzana.bindings.Step as RustStep
import mx.manzana.bindings.ToCorrect as RustToCorrect

/** A device in a folder of its own; one process can have it open. */
class RustPhone private constructor(private val device: Device) : Phone {
    override val changes: Flow<Unit> = flow {
        device.watch().use { watch ->
            // Whoever begins to listen has not read what was before.
            emit(Unit)
            while (watch.next() != null) emit(Unit)
        }
    }

    override suspend fun enrol(invitation: String): Me = translated { device.enrol(invitation).ours() }

    override suspend fun status(): PhoneStatus = translated {
        val status = device.status()
        PhoneStatus(
            me = status.me?.ours(),
            connection = status.connection.like<Connection>(),
            unsent = status.unsent.toLong(),
            oldestUnsent = status.oldestUnsent,
            toCorrect = status.toCorrect.toInt(),
            bytes = (status.bytesUp + status.bytesDown).toLong(),
            recoveringSince = status.recovery?.takeIf { it.open }?.since,
        )
    }

    override suspend fun list(): List<Petition> = translated { device.list().map { it.ours() } }

    override suspend fun detail(id: String): PetitionDetail? = try {
        translated { device.detail(id).ours() }
    } catch (failure: PhoneFailure) {
        if (failure.problem.code != Code.NOT_FOUND) throw failure
        null
    }

    override suspend fun catalogs(): Catalogs = translated {
        val byName = device.catalogs().associate { it.name to it.entries() }
        fun named(name: String) = byName[name].orEmpty()
        Catalogs(named("agencies"), named("services"), named("neighborhoods"))
    }

    override suspend fun capture(form: CaptureForm): String = translated {
        device.capture(form.rust()).petitions.single()
    }

    override suspend fun act(id: String, step: Step): Unit = translated { device.act(listOf(id), step.rust()) }

    override suspend fun comment(id: String, text: String): Unit = translated { device.comment(id, text) }

    override suspend fun toCorrect(): List<ToCorrect> = translated { device.toCorrect().map { it.ours() } }

    override suspend fun resend(act: String): Unit = translated { device.resend(act) }

    override suspend fun closeCorrection(act: String): Unit = translated { device.closeCorrection(act) }

    override suspend fun startSync() = device.startSync()

    override suspend fun stopSync() = device.stopSync()

    override fun notifyNetwork() = device.notifyNetwork()

    // The handle itself is left to the collector: whoever still asks is told that it was cancelled.
    override suspend fun shutDown() = device.shutDown()

    companion object {
        /** Opens the phone in this folder, enrolled or not yet. */
        suspend fun open(folder: String): RustPhone = translated { RustPhone(Device.open(folder)) }
    }
}

private suspend fun <T> translated(call: suspend () -> T): T = try {
    call()
} catch (failed: ManzanaException.Failed) {
    val problem = failed.problem
    throw PhoneFailure(
        Problem(problem.category.like(), problem.code.like(), problem.rule?.like<Rule>(), problem.field),
    )
}

/** Ours of the same name: both are generated from, or written after, one list. */
private inline fun <reified T : Enum<T>> Enum<*>.like(): T = enumValueOf<T>(name)

private fun RustMe.ours() = Me(role.like(), display, center)

private fun RustPetition.ours() = Petition(
    id = id,
    folio = folio,
    provisionalFolio = provisionalFolio,
    title = title,
    location = location,
    neighborhood = neighborhood?.name,
    service = service?.name,
    agencies = agencies.map { it.name },
    status = status.like(),
    unconfirmed = unconfirmed,
    conflict = conflict,
    custody = custody.like(),
    unsent = unsent.toInt(),
    capturedHere = capturedHere,
    capturedAt = capturedAt,
    comments = comments.toInt(),
)

private fun RustDetail.ours(): PetitionDetail {
    val steps = history.map { it.ours() }
    val byId = steps.associateBy { it.id }
    return PetitionDetail(
        petition = petition.ours(),
        description = description,
        history = steps,
        comments = comments.map { CommentEntry(it.id, it.mine, it.role.like(), it.at, it.text) },
        conflicts = conflicts.map { conflict ->
            val sides = listOf(byId.getValue(conflict.one), byId.getValue(conflict.other))
            val (one, other) = sides.sortedWith(compareBy({ !it.mine }, { it.at }))
            Conflict(one, other)
        },
        allowed = allowed.map { it.like<EventKind>() }.toSet(),
    )
}

private fun RustHistory.ours() = HistoryEntry(
    id = id,
    kind = kind.like(),
    mine = mine,
    role = role.like(),
    at = at,
    agency = agency?.name,
    reason = reason,
    nextAt = nextAt,
    note = note,
    outcome = outcome?.like<Outcome>(),
)

private fun RustToCorrect.ours() = ToCorrect(act, what.ours(), petitions, rule.like(), field)

private fun RustKept.ours(): KeptAct = when (this) {
    is RustKept.Capture -> KeptAct.Capture(title)
    is RustKept.Step -> KeptAct.Did(kind.like())
    is RustKept.Comment -> KeptAct.Comment(text)
    RustKept.Correction -> KeptAct.Correction
    RustKept.Other -> KeptAct.Other
}

private fun RustCatalog.entries() = items.map { it.ours() }

private fun RustEntry.ours() = Entry(id.toInt(), name, parent?.toInt())

private fun Entry.rust() = RustRef(id.toUInt(), name)

private fun CaptureForm.rust() = RustForm(
    title = title,
    description = description,
    agency = agency?.rust(),
    service = service?.rust(),
    neighborhood = neighborhood?.rust(),
    street = street.ifBlank { null },
    cross1 = cross1.ifBlank { null },
    cross2 = cross2.ifBlank { null },
)

private fun Step.rust() = RustStep(kind.like<RustKind>(), reason, note, agency?.rust())
