/** One phone, as screens use it: the only door between the app and what keeps and sends petitions. */
package mx.manzana.core

import kotlinx.coroutines.flow.Flow

/**
 * Everything here is durable, or has failed with a [PhoneFailure], when it returns. Sending is not the
 * caller's business: it happens by itself between [startSync] and [stopSync].
 */
interface Phone {
    /** Something changed since the collector began: read again what is shown. Never ends by itself. */
    val changes: Flow<Unit>

    suspend fun enrol(invitation: String): Me
    suspend fun status(): PhoneStatus

    /** All petitions, newest captured first. */
    suspend fun list(): List<Petition>

    /** One petition; null when this phone does not hold it (any more). */
    suspend fun detail(id: String): PetitionDetail?
    suspend fun catalogs(): Catalogs

    /** Captures a petition and gives its id. */
    suspend fun capture(form: CaptureForm): String
    suspend fun act(id: String, step: Step)
    suspend fun comment(id: String, text: String)

    suspend fun toCorrect(): List<ToCorrect>
    suspend fun resend(act: String)
    suspend fun closeCorrection(act: String)

    suspend fun startSync()
    suspend fun stopSync()

    /** The network may have changed: an attempt is made at once. */
    fun notifyNetwork()

    /** Stops the sync and closes the files. */
    suspend fun shutDown()
}
