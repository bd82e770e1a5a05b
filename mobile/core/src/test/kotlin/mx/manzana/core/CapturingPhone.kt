/** A phone that captures and is then killed: the process under the test's kill -9. */
package mx.manzana.core

import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.runBlocking

/** Prints the petition's id once the call has returned, and waits for its end. */
fun main(arguments: Array<String>): Unit = runBlocking {
    val phone = RustPhone.open(arguments[0])
    phone.startSync()
    println(phone.capture(CaptureForm("LAMPARA FUNDIDA", "Frente al kínder")))
    awaitCancellation()
}

/** Captures in a process of its own, which is killed with -9 after the call has returned. */
fun captureAndBeKilled(home: String): String {
    val java = ProcessHandle.current().info().command().get()
    val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
    val library = System.getProperty("jna.library.path")
    val phone = ProcessBuilder(
        java, "-Djna.library.path=$library", "-cp", classes, "mx.manzana.core.CapturingPhoneKt", home,
    ).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    val petition = phone.inputStream.bufferedReader().readLine()
    phone.destroyForcibly().waitFor()
    return petition
}
