/** What screens are made of: each part at least 48 dp where it is touched, and named for readers. */
package mx.manzana.app.look

import androidx.compose.foundation.BorderStroke
import androidx.compose.foundation.LocalIndication
import androidx.compose.foundation.background
import androidx.compose.foundation.border
import androidx.compose.foundation.clickable
import androidx.compose.foundation.interaction.MutableInteractionSource
import androidx.compose.foundation.interaction.collectIsFocusedAsState
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.Spacer
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.sizeIn
import androidx.compose.foundation.layout.width
import androidx.compose.foundation.selection.selectable
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.material3.Button
import androidx.compose.material3.ButtonDefaults
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.OutlinedTextFieldDefaults
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.remember
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.draw.clip
import androidx.compose.ui.draw.drawWithContent
import androidx.compose.ui.focus.FocusDirection
import androidx.compose.ui.geometry.CornerRadius
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.graphics.drawscope.Stroke
import androidx.compose.ui.input.key.Key
import androidx.compose.ui.input.key.KeyEventType
import androidx.compose.ui.input.key.isShiftPressed
import androidx.compose.ui.input.key.key
import androidx.compose.ui.input.key.onPreviewKeyEvent
import androidx.compose.ui.input.key.type
import androidx.compose.ui.platform.LocalFocusManager
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.TextStyle
import androidx.compose.ui.text.input.KeyboardCapitalization
import androidx.compose.ui.unit.dp

private val CARD = RoundedCornerShape(8.dp)
private val CONTROL = RoundedCornerShape(6.dp)

/** Plain text in the current light. */
@Composable
fun Words(text: String, style: TextStyle = MaterialTheme.typography.bodyLarge, colour: Color = palette.ink, modifier: Modifier = Modifier) =
    Text(text, modifier, colour, style = style)

/** A screen: what it is at the top, its matter, and the main act at the thumb. */
@Composable
fun Page(top: @Composable () -> Unit, bottom: (@Composable ColumnScope.() -> Unit)? = null, matter: @Composable () -> Unit) {
    Column(Modifier.fillMaxSize().background(palette.canvas)) {
        top()
        Box(Modifier.weight(1f).fillMaxWidth()) { matter() }
        if (bottom != null) {
            Rule()
            Column(
                Modifier.fillMaxWidth().background(palette.surface).padding(16.dp, 12.dp),
                Arrangement.spacedBy(8.dp),
                content = bottom,
            )
        }
    }
}

/** A hair between what is not the same. */
@Composable
fun Rule(modifier: Modifier = Modifier) = Box(modifier.fillMaxWidth().heightIn(1.dp, 1.dp).background(palette.line))

/** The top of every screen but the first. */
@Composable
fun BackBar(back: String, onBack: () -> Unit, title: @Composable () -> Unit) {
    Row(Modifier.fillMaxWidth().padding(4.dp, 8.dp, 16.dp, 4.dp), verticalAlignment = Alignment.CenterVertically) {
        SignButton(Sign.BACK, back, onBack, Modifier.testTag("back"))
        Spacer(Modifier.width(4.dp))
        title()
    }
}

@Composable
fun BackBar(title: String, back: String, onBack: () -> Unit) = BackBar(back, onBack) { Title(title) }

/** What a screen is. */
@Composable
fun Title(text: String, modifier: Modifier = Modifier) =
    Words(text, MaterialTheme.typography.headlineSmall, modifier = modifier.semantics { heading() })

/** A heading within a screen. */
@Composable
fun Heading(text: String, modifier: Modifier = Modifier) =
    Words(text, MaterialTheme.typography.titleLarge, modifier = modifier.semantics { heading() })

/** The one thing that a screen is for. */
@Composable
fun MainButton(text: String, onClick: () -> Unit, modifier: Modifier = Modifier, enabled: Boolean = true, sign: Sign? = null) {
    val source = remember { MutableInteractionSource() }
    Button(
        onClick, modifier.fillMaxWidth().heightIn(min = 56.dp).focusRing(source), enabled, CONTROL,
        ButtonDefaults.buttonColors(palette.primary, palette.onPrimary, palette.raised, palette.muted),
        interactionSource = source,
    ) {
        if (sign != null) {
            SignMark(sign, palette.onPrimary)
            Spacer(Modifier.width(8.dp))
        }
        Text(text, style = MaterialTheme.typography.labelLarge)
    }
}

/** Another thing that can be done. */
@Composable
fun PlainButton(text: String, onClick: () -> Unit, modifier: Modifier = Modifier, grave: Boolean = false) {
    val source = remember { MutableInteractionSource() }
    val colour = if (grave) palette.conflict.text else palette.primary
    OutlinedButton(
        onClick, modifier.fillMaxWidth().heightIn(min = 48.dp).focusRing(source), shape = CONTROL,
        colors = ButtonDefaults.outlinedButtonColors(palette.surface, colour),
        border = BorderStroke(1.dp, palette.edge), interactionSource = source,
    ) { Text(text, style = MaterialTheme.typography.labelLarge) }
}

/** A button that is a sign, with its name for readers. */
@Composable
fun SignButton(sign: Sign, name: String, onClick: () -> Unit, modifier: Modifier = Modifier) {
    Box(
        modifier.sizeIn(48.dp, 48.dp).touched(onClick).semantics { contentDescription = name },
        Alignment.Center,
    ) { SignMark(sign, palette.ink, size = 24.dp) }
}

/** Words that are a button. */
@Composable
fun WordButton(text: String, name: String, onClick: () -> Unit, modifier: Modifier = Modifier) {
    Box(
        modifier.sizeIn(48.dp, 48.dp).touched(onClick).semantics { contentDescription = name }.padding(horizontal = 8.dp),
        Alignment.Center,
    ) { Words(text, MaterialTheme.typography.labelMedium, palette.primary) }
}

/** One of a few that is chosen. */
@Composable
fun Choice(text: String, chosen: Boolean, onClick: () -> Unit, modifier: Modifier = Modifier) {
    val (ground, ink) = if (chosen) palette.primary to palette.onPrimary else palette.surface to palette.ink
    val source = remember { MutableInteractionSource() }
    Box(
        modifier.heightIn(min = 48.dp).focusRing(source).clip(CONTROL).background(ground)
            .border(1.dp, if (chosen) palette.primary else palette.edge, CONTROL)
            .selectable(chosen, source, LocalIndication.current, role = Role.RadioButton, onClick = onClick)
            .padding(16.dp, 10.dp),
        Alignment.Center,
    ) { Words(text, MaterialTheme.typography.labelMedium, ink) }
}

/** What one thing says, on its own ground. */
@Composable
fun Card(modifier: Modifier = Modifier, ground: Color = palette.surface, edge: Color = palette.line, onClick: (() -> Unit)? = null, matter: @Composable ColumnScope.() -> Unit) {
    val touched = if (onClick == null) Modifier else Modifier.touched(onClick, CARD)
    Column(
        modifier.fillMaxWidth().then(touched).clip(CARD).background(ground).border(1.dp, edge, CARD).padding(16.dp),
        Arrangement.spacedBy(8.dp),
        content = matter,
    )
}

/** Something to know now; readers hear it when it appears. */
@Composable
fun Notice(text: String, ink: Ink, sign: Sign, modifier: Modifier = Modifier) {
    Row(
        modifier.fillMaxWidth().clip(CARD).background(ink.ground).padding(16.dp, 12.dp)
            .semantics { liveRegion = LiveRegionMode.Polite },
        Arrangement.spacedBy(12.dp),
    ) {
        SignMark(sign, ink.text, Modifier.padding(top = 2.dp))
        Words(text, colour = ink.text)
    }
}

/** A line of words with its sign. */
@Composable
fun Signed(sign: Sign, text: String, colour: Color = palette.muted, modifier: Modifier = Modifier) {
    Row(modifier, Arrangement.spacedBy(8.dp)) {
        SignMark(sign, colour, Modifier.padding(top = 1.dp), size = 18.dp)
        Words(text, MaterialTheme.typography.bodyMedium, colour)
    }
}

/** Where something is typed: its name stays above it, what is missing is said below it. */
@Composable
fun Field(
    name: String,
    value: String,
    onChange: (String) -> Unit,
    tag: String,
    hint: String = "",
    mark: String? = null,
    missing: String? = null,
    lines: Int = 1,
) {
    Column(Modifier.fillMaxWidth(), Arrangement.spacedBy(6.dp)) {
        Label(name, mark)
        OutlinedTextField(
            value, onChange,
            Modifier.fillMaxWidth().leftByTab().testTag(tag).semantics { contentDescription = name },
            textStyle = MaterialTheme.typography.bodyLarge,
            placeholder = { Words(hint, colour = palette.muted) },
            isError = missing != null,
            singleLine = lines == 1,
            minLines = lines,
            shape = CONTROL,
            keyboardOptions = KeyboardOptions(KeyboardCapitalization.Sentences),
            colors = OutlinedTextFieldDefaults.colors(
                focusedContainerColor = palette.surface,
                unfocusedContainerColor = palette.surface,
                errorContainerColor = palette.surface,
                unfocusedBorderColor = palette.edge,
            ),
        )
        if (missing != null) Words(missing, MaterialTheme.typography.bodyMedium, palette.conflict.text)
    }
}

/** The name of a field, with a mark for what is needed. */
@Composable
fun Label(name: String, mark: String? = null) {
    Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        Words(name, MaterialTheme.typography.labelMedium)
        if (mark != null) Words(mark, MaterialTheme.typography.bodyMedium, palette.muted)
    }
}

/** A field that is chosen from a list on a page of its own. */
@Composable
fun PickField(name: String, chosen: String?, choose: String, tag: String, onClick: () -> Unit) {
    Column(Modifier.fillMaxWidth(), Arrangement.spacedBy(6.dp)) {
        Label(name)
        Row(
            Modifier.fillMaxWidth().heightIn(min = 56.dp).touched(onClick).background(palette.surface)
                .border(1.dp, palette.edge, CONTROL).testTag(tag).semantics { contentDescription = name }.padding(16.dp, 12.dp),
            Arrangement.spacedBy(8.dp), Alignment.CenterVertically,
        ) {
            val colour = if (chosen == null) palette.muted else palette.ink
            Words(chosen ?: choose, colour = colour, modifier = Modifier.weight(1f))
            SignMark(Sign.FORWARD, palette.muted)
        }
    }
}

/** A thing that is a button, and shows when it has the keyboard. */
@Composable
fun Modifier.touched(onClick: () -> Unit, shape: Shape = CONTROL): Modifier {
    val source = remember { MutableInteractionSource() }
    return focusRing(source).clip(shape).clickable(source, LocalIndication.current, role = Role.Button, onClick = onClick)
}

/** The ring around what has the keyboard: two wide, with a gap of two, and nothing moves for it. */
@Composable
private fun Modifier.focusRing(source: MutableInteractionSource): Modifier {
    val focused by source.collectIsFocusedAsState()
    val colour = palette.primary
    return drawWithContent {
        drawContent()
        if (focused) {
            val out = 3.dp.toPx()
            drawRoundRect(
                colour, Offset(-out, -out), Size(size.width + 2 * out, size.height + 2 * out),
                CornerRadius(9.dp.toPx()), Stroke(2.dp.toPx()),
            )
        }
    }
}

/** Tab leaves a field of several lines, as it leaves every other. */
@Composable
private fun Modifier.leftByTab(): Modifier {
    val focus = LocalFocusManager.current
    return onPreviewKeyEvent { event ->
        if (event.key != Key.Tab) return@onPreviewKeyEvent false
        if (event.type == KeyEventType.KeyDown) {
            focus.moveFocus(if (event.isShiftPressed) FocusDirection.Previous else FocusDirection.Next)
        }
        true
    }
}
