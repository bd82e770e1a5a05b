/** What a person has chosen about the app itself. */
package mx.manzana.core

import java.nio.file.Path

/** Language and light. [dark] is null while the platform decides. */
data class Settings(val english: Boolean = false, val dark: Boolean? = null)

/** Keeps the settings. */
interface SettingsStore {
    fun load(): Settings
    fun keep(settings: Settings)
}

/** The settings in this folder. */
class SettingsFile(folder: Path) : SettingsStore {
    private val file = SmallFile(folder.resolve("settings.properties"))

    override fun load(): Settings {
        val kept = file.read()
        return Settings(kept["english"].toBoolean(), kept["dark"]?.toBooleanStrictOrNull())
    }

    override fun keep(settings: Settings) {
        val values = mutableMapOf("english" to settings.english.toString())
        settings.dark?.let { values["dark"] = it.toString() }
        file.replace(values)
    }
}
