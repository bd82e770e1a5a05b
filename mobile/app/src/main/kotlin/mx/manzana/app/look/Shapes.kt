/** Drawn signs: a status or a custody is a shape beside its words, so that colour never stands alone. */
package mx.manzana.app.look

import androidx.compose.foundation.Canvas
import androidx.compose.foundation.layout.size
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.geometry.CornerRadius
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.Path
import androidx.compose.ui.graphics.PathEffect
import androidx.compose.ui.graphics.StrokeCap
import androidx.compose.ui.graphics.StrokeJoin
import androidx.compose.ui.graphics.drawscope.DrawScope
import androidx.compose.ui.graphics.drawscope.DrawStyle
import androidx.compose.ui.graphics.drawscope.Fill
import androidx.compose.ui.graphics.drawscope.Stroke
import androidx.compose.ui.platform.LocalDensity
import androidx.compose.ui.unit.Dp
import androidx.compose.ui.unit.dp
import androidx.compose.ui.unit.sp

/** Every sign, drawn on a square of 24. */
enum class Sign {
    HOLLOW_CIRCLE, CIRCLE_ARROW, HALF_CIRCLE, FULL_TICK, DASHED_TICK, BARRED_CIRCLE, OPPOSED_ARROWS,
    PHONE, TWO_PHONES, ONE_TICK, TWO_TICKS, BACK, PLUS, SUN, MOON, WAITING, SIGNAL, NO_SIGNAL, FORWARD,
}

/** A sign that grows with the text beside it. */
@Composable
fun SignMark(sign: Sign, colour: Color, modifier: Modifier = Modifier, size: Dp = 20.dp) {
    // Text sizes are what people enlarge: the sign follows them.
    val scaled = with(LocalDensity.current) { size.value.sp.toDp() }
    Canvas(modifier.size(scaled)) { draw(sign, colour) }
}

private fun DrawScope.draw(sign: Sign, colour: Color) {
    val unit = size.minDimension / 24f
    val stroke = Stroke(2f * unit, cap = StrokeCap.Round, join = StrokeJoin.Round)
    fun at(x: Float, y: Float) = Offset(x * unit, y * unit)
    fun line(vararg points: Pair<Float, Float>, with: Color = colour) {
        val path = Path()
        points.forEachIndexed { i, (x, y) -> if (i == 0) path.moveTo(x * unit, y * unit) else path.lineTo(x * unit, y * unit) }
        drawPath(path, with, style = stroke)
    }
    fun circle(radius: Float = 9f, style: DrawStyle = stroke, with: Color = colour) =
        drawCircle(with, radius * unit, at(12f, 12f), style = style)
    fun box(x: Float, y: Float, width: Float, height: Float) = drawRoundRect(
        colour, at(x, y), Size(width * unit, height * unit),
        CornerRadius(2f * unit), stroke,
    )
    when (sign) {
        Sign.HOLLOW_CIRCLE -> circle()
        Sign.CIRCLE_ARROW -> {
            circle()
            line(8f to 12f, 16f to 12f)
            line(12.5f to 8.5f, 16f to 12f, 12.5f to 15.5f)
        }
        Sign.HALF_CIRCLE -> {
            circle()
            drawArc(colour, 90f, 180f, true, at(3f, 3f), Size(18f * unit, 18f * unit), style = Fill)
        }
        Sign.FULL_TICK -> {
            circle(10f, Fill)
            line(7.5f to 12.5f, 10.5f to 15.5f, 16.5f to 9f, with = if (colour.isLight()) DEEP else Color.White)
        }
        Sign.DASHED_TICK -> {
            val dashes = PathEffect.dashPathEffect(floatArrayOf(3.4f * unit, 3.67f * unit))
            drawCircle(colour, 9f * unit, at(12f, 12f), style = Stroke(2f * unit, cap = StrokeCap.Round, pathEffect = dashes))
            line(8f to 12.5f, 11f to 15.5f, 16f to 9.5f)
        }
        Sign.BARRED_CIRCLE -> {
            circle()
            line(6f to 18f, 18f to 6f)
        }
        Sign.OPPOSED_ARROWS -> {
            line(3f to 8f, 11f to 8f)
            line(7.5f to 4.5f, 11f to 8f, 7.5f to 11.5f)
            line(21f to 16f, 13f to 16f)
            line(16.5f to 12.5f, 13f to 16f, 16.5f to 19.5f)
        }
        Sign.PHONE -> {
            box(7f, 3f, 10f, 18f)
            line(11f to 17.5f, 13f to 17.5f)
        }
        Sign.TWO_PHONES -> {
            box(3f, 6f, 8f, 15f)
            box(13f, 3f, 8f, 15f)
        }
        Sign.ONE_TICK -> line(5f to 12.5f, 10f to 17.5f, 19f to 7f)
        Sign.TWO_TICKS -> {
            line(2f to 12.5f, 7f to 17.5f, 15f to 7f)
            line(11.5f to 17f, 12f to 17.5f, 21.5f to 7f)
        }
        Sign.BACK -> {
            line(20f to 12f, 4f to 12f)
            line(11f to 5f, 4f to 12f, 11f to 19f)
        }
        Sign.FORWARD -> line(9f to 5f, 16f to 12f, 9f to 19f)
        Sign.PLUS -> {
            line(12f to 5f, 12f to 19f)
            line(5f to 12f, 19f to 12f)
        }
        Sign.SUN -> {
            circle(4.5f)
            for (ray in 0 until 8) {
                val angle = Math.PI / 4 * ray
                fun on(radius: Double) = (12 + radius * Math.cos(angle)).toFloat() to (12 + radius * Math.sin(angle)).toFloat()
                line(on(8.0), on(10.5))
            }
        }
        Sign.MOON -> {
            val moon = Path().apply {
                moveTo(20f * unit, 14.5f * unit)
                cubicTo(13f * unit, 17f * unit, 7f * unit, 11f * unit, 9.5f * unit, 4f * unit)
                cubicTo(1f * unit, 7f * unit, 2f * unit, 20f * unit, 12f * unit, 20.5f * unit)
                cubicTo(16f * unit, 20.5f * unit, 19f * unit, 18f * unit, 20f * unit, 14.5f * unit)
                close()
            }
            drawPath(moon, colour, style = stroke)
        }
        Sign.WAITING -> {
            circle()
            line(12f to 7f, 12f to 12f, 15.5f to 14f)
        }
        Sign.SIGNAL, Sign.NO_SIGNAL -> {
            line(5f to 20f, 5f to 16f)
            line(10f to 20f, 10f to 12f)
            line(15f to 20f, 15f to 8f)
            line(20f to 20f, 20f to 4f)
            if (sign == Sign.NO_SIGNAL) line(3f to 4f, 21f to 21f)
        }
    }
}

/** Ink for marks on a light filled shape. */
private val DEEP = Color(0xFF0F3520)

private fun Color.isLight() = red + green + blue > 1.5f
