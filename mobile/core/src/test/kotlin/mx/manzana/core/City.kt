/** A city for tests: a real relay process in a folder of its own, and its operator's browser. */
package mx.manzana.core

import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

private const val PASSWORD = "una clave larga"
private val CATALOG = """
    {"agencies":[{"id":1,"name":"Dirección de Alumbrado Publico"},{"id":2,"name":"Maquinaria Pesada"}],
     "services":[{"id":7,"name":"Lámpara fundida","agency":1},{"id":8,"name":"Bache","agency":2}],
     "neighborhoods":[{"id":1,"name":"COL. CENTRO"},{"id":2,"name":"COL. IQUIISA"}]}
""".trimIndent()

/** MANZANA_BIN names the program. Nothing here sleeps: a log line or an answer is waited for. */
class City : AutoCloseable {
    val folder: Path = Files.createTempDirectory("manzana-app-")
    private var devices = "127.0.0.1:0"
    private var console = "127.0.0.1:0"
    private lateinit var relay: Process
    private lateinit var log: Thread

    init {
        start()
        val catalog = folder.resolve("catalog.json")
        Files.writeString(catalog, CATALOG)
        run("catalog", catalog.toString())
    }

    /** Starts the relay: at first on ports of the system's choice, later on the same ones. */
    fun start() {
        val serve = command("serve")
        serve.environment() += mapOf(
            "MANZANA_LOG__FORMAT" to "json",
            "MANZANA_SYNC_LISTEN" to devices,
            "MANZANA_CONSOLE_LISTEN" to console,
        )
        relay = serve.start()
        val lines = relay.errorStream.bufferedReader()
        val said = generateSequence(lines::readLine).onEach(::println)
        val serving = said.firstOrNull { "\"message\":\"serving\"" in it } ?: error("the relay does not start")
        devices = serving.text("devices")
        console = serving.text("console")
        // The rest is read, or the relay would stop at a full pipe.
        log = thread { lines.use { it.forEachLine { } } }
    }

    /** As a power cut would: no goodbye, nothing flushed. */
    fun kill() {
        relay.destroyForcibly().waitFor()
        log.join()
    }

    override fun close() {
        if (relay.isAlive) kill()
        folder.toFile().deleteRecursively()
    }

    fun user(name: String, role: String) {
        run("user", "add", name, "--role", role, "--display", name, "--password-stdin", input = PASSWORD)
    }

    fun invite(user: String, vararg scope: String): String =
        run("invite", "--user", user, "--relay", "https://$devices", *scope).trim()

    /** A captain's phone, enrolled. */
    suspend fun captain(name: String): RustPhone {
        user(name, "block_captain")
        return enrolled(name, "--scope", "block:1101", "--block", "1101")
    }

    /** A phone of the lighting agency's crew, enrolled. */
    suspend fun crew(name: String): RustPhone {
        user(name, "crew")
        return enrolled(name, "--scope", "agency:1")
    }

    fun home(name: String): String = folder.resolve("phones").resolve(name).toString()

    private suspend fun enrolled(name: String, vararg scope: String): RustPhone =
        RustPhone.open(home(name)).apply { enrol(invite(name, *scope)) }

    fun signIn(user: String) = Operator(console, user, PASSWORD)

    private fun run(vararg arguments: String, input: String = ""): String {
        val process = command(*arguments).redirectErrorStream(true).start()
        process.outputStream.use { it.write(input.toByteArray()) }
        val said = process.inputStream.bufferedReader().readText()
        check(process.waitFor(60, TimeUnit.SECONDS) && process.exitValue() == 0) { "${arguments[0]}: $said" }
        return said
    }

    private fun command(vararg arguments: String): ProcessBuilder {
        val binary = checkNotNull(System.getenv("MANZANA_BIN")) { "MANZANA_BIN names no program" }
        val builder = ProcessBuilder(binary, *arguments)
        builder.environment().keys.removeIf { it.startsWith("MANZANA_") }
        builder.environment()["MANZANA_DATA_DIR"] = folder.resolve("data").toString()
        return builder
    }
}

/** An operator's browser, reduced to its requests. */
class Operator(private val address: String, user: String, password: String) {
    private val client = HttpClient.newHttpClient()
    private var session = emptyList<String>()

    init {
        val reply = ask("/api/session", """{"user":"$user","password":"$password"}""")
        val cookie = reply.headers().firstValue("set-cookie").get().substringBefore(';')
        session = listOf("Cookie", cookie, "X-Manzana-Csrf", reply.body().text("csrf"))
    }

    /** Does something to a petition as the page that shows it now would; [act] is JSON without braces. */
    fun act(folio: String, act: String) {
        val id = ask("/api/petitions?q=$folio").body().text("id")
        val heads = Regex("\"heads\":(\\[[^]]*])").find(ask("/api/petitions/$id").body())!!.groupValues[1]
        ask("/api/petitions/$id/acts", """{$act,"heads":$heads,"key":"$folio-${System.nanoTime()}"}""")
    }

    private fun ask(path: String, body: String? = null): HttpResponse<String> {
        val request = HttpRequest.newBuilder(URI("http://$address$path"))
            .headers("Origin", "http://$address", "Content-Type", "application/json")
        if (session.isNotEmpty()) request.headers(*session.toTypedArray())
        if (body != null) request.POST(HttpRequest.BodyPublishers.ofString(body))
        val reply = client.send(request.build(), HttpResponse.BodyHandlers.ofString())
        check(reply.statusCode() == 200) { "$path: ${reply.statusCode()} ${reply.body()}" }
        return reply
    }
}

/** The first value of this name in a JSON text of our own relay. */
private fun String.text(name: String) =
    Regex("\"$name\":\"([^\"]*)\"").find(this)?.groupValues?.get(1) ?: error("no $name in $this")
