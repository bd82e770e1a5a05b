/** Drafts: what a person has typed and not yet saved as a report, on disk after every keystroke. */
package mx.manzana.core

import java.nio.file.Path

/**
 * What somebody is writing. [savingSince] is set just before it is handed over to be captured, so that a
 * process killed in between does not capture it twice.
 */
data class Draft(val form: CaptureForm = CaptureForm("", ""), val savingSince: Long? = null) {
    val isEmpty get() = form == CaptureForm("", "")
}

/** Keeps the draft of the capture form. */
interface Drafts {
    fun load(): Draft
    fun keep(draft: Draft)
    fun forget()
}

/** The draft in this folder. */
class DraftFile(folder: Path) : Drafts {
    private val file = SmallFile(folder.resolve("draft.properties"))

    override fun load(): Draft {
        val kept = file.read()
        fun text(name: String) = kept[name].orEmpty()
        fun entry(name: String) = kept["$name.id"]?.toIntOrNull()?.let { id ->
            Entry(id, text("$name.name"), kept["$name.parent"]?.toIntOrNull())
        }
        val form = CaptureForm(
            text("title"), text("description"), entry("agency"), entry("service"), entry("neighborhood"),
            text("street"), text("cross1"), text("cross2"),
        )
        return Draft(form, kept["saving_since"]?.toLongOrNull())
    }

    override fun keep(draft: Draft) {
        val form = draft.form
        val values = mutableMapOf<String, String>()
        fun entry(name: String, entry: Entry?) {
            if (entry == null) return
            values["$name.id"] = entry.id.toString()
            values["$name.name"] = entry.name
            entry.parent?.let { values["$name.parent"] = it.toString() }
        }
        values["title"] = form.title
        values["description"] = form.description
        entry("agency", form.agency)
        entry("service", form.service)
        entry("neighborhood", form.neighborhood)
        values["street"] = form.street
        values["cross1"] = form.cross1
        values["cross2"] = form.cross2
        draft.savingSince?.let { values["saving_since"] = it.toString() }
        file.replace(values)
    }

    override fun forget() = file.delete()
}
