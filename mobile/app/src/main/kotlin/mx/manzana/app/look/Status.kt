/** A petition's state and custody as people see them: shape, word and colour. */
package mx.manzana.app.look

import androidx.compose.foundation.background
import androidx.compose.foundation.border
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.MaterialTheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.draw.clip
import androidx.compose.ui.draw.drawBehind
import androidx.compose.ui.geometry.CornerRadius
import androidx.compose.ui.graphics.PathEffect
import androidx.compose.ui.graphics.drawscope.Stroke
import androidx.compose.ui.unit.dp
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.Custody
import mx.manzana.core.Petition
import mx.manzana.core.Status

/** The state of a petition. */
@Composable
fun StatusBadge(petition: Petition, modifier: Modifier = Modifier) {
    val (sign, ink) = petition.look()
    val shape = RoundedCornerShape(6.dp)
    Row(
        modifier.clip(shape).background(ink.ground).edge(petition, ink).padding(8.dp, 4.dp),
        Arrangement.spacedBy(8.dp), Alignment.CenterVertically,
    ) {
        SignMark(sign, ink.text, size = 16.dp)
        Words(LocalStrings.current.status(petition), MaterialTheme.typography.labelMedium, ink.text)
    }
}

@Composable
private fun Petition.look(): Pair<Sign, Ink> = when {
    conflict -> Sign.OPPOSED_ARROWS to palette.conflict
    status == Status.PENDING -> Sign.HOLLOW_CIRCLE to palette.pending
    status == Status.REFERRED -> Sign.CIRCLE_ARROW to palette.referred
    status == Status.IN_PROGRESS -> Sign.HALF_CIRCLE to palette.inProgress
    status == Status.NOT_APPLICABLE -> Sign.BARRED_CIRCLE to palette.notApplicable
    unconfirmed -> Sign.DASHED_TICK to palette.done
    else -> Sign.FULL_TICK to palette.done
}

/** "Por confirmar" has a dashed edge. */
private fun Modifier.edge(petition: Petition, ink: Ink): Modifier {
    val dashed = petition.status == Status.DONE && petition.unconfirmed && !petition.conflict
    if (!dashed) return border(1.dp, ink.ground, RoundedCornerShape(6.dp))
    return drawBehind {
        val dashes = PathEffect.dashPathEffect(floatArrayOf(4.dp.toPx(), 3.dp.toPx()))
        drawRoundRect(ink.text, cornerRadius = CornerRadius(6.dp.toPx()), style = Stroke(2.dp.toPx(), pathEffect = dashes))
    }
}

/** Where a petition has safely arrived, and what on it has not. */
@Composable
fun CustodyLine(petition: Petition, center: String, modifier: Modifier = Modifier) {
    val words = LocalStrings.current
    val sign = when (petition.custody) {
        Custody.ON_THIS_PHONE -> Sign.PHONE
        Custody.COPIED_TO_ANOTHER -> Sign.TWO_PHONES
        Custody.RECEIVED -> Sign.ONE_TICK
        Custody.ACCEPTED_BY_AGENCY -> Sign.TWO_TICKS
    }
    // Received, and yet something on it is not: said beside the custody, never instead of it.
    val more = petition.unsent.takeIf { it > 0 && petition.custody > Custody.COPIED_TO_ANOTHER }
    val text = listOfNotNull(words.custody(petition.custody, center), more?.let(words::unsentHere)).joinToString(" · ")
    Signed(sign, text, modifier = modifier)
}
