/** Small files of the app's own, beside the phone's: replaced whole, durable when the call returns. */
package mx.manzana.core

import java.io.StringReader
import java.io.StringWriter
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.Path
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardOpenOption.CREATE
import java.nio.file.StandardOpenOption.TRUNCATE_EXISTING
import java.nio.file.StandardOpenOption.WRITE
import java.util.Properties

/** Names and values in one file: a kill or a power cut leaves the old ones or the new ones. */
internal class SmallFile(private val file: Path) {
    fun read(): Map<String, String> {
        val text = try {
            Files.readString(file)
        } catch (_: NoSuchFileException) {
            return emptyMap()
        }
        val kept = Properties().apply { load(StringReader(text)) }
        return kept.entries.associate { (name, value) -> name.toString() to value.toString() }
    }

    fun replace(values: Map<String, String>) {
        val text = StringWriter().also { Properties().apply { putAll(values) }.store(it, null) }
        Files.createDirectories(file.parent)
        val new = file.resolveSibling("${file.fileName}.new")
        FileChannel.open(new, CREATE, WRITE, TRUNCATE_EXISTING).use { channel ->
            val bytes = ByteBuffer.wrap(text.toString().toByteArray())
            while (bytes.hasRemaining()) channel.write(bytes)
            channel.force(true)
        }
        Files.move(new, file, ATOMIC_MOVE)
    }

    fun delete() {
        Files.deleteIfExists(file)
    }
}
