/** The look: colours, type and the light they are seen in. Shared with the console by its tokens. */
package mx.manzana.app.look

import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Shapes
import androidx.compose.material3.Typography
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.runtime.staticCompositionLocalOf
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.text.TextStyle
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.style.LineHeightStyle
import androidx.compose.ui.unit.TextUnit
import androidx.compose.ui.unit.dp
import androidx.compose.ui.unit.sp

/** Text and ground of a status. */
data class Ink(val text: Color, val ground: Color)

/** The colours of one light. */
data class Palette(
    val canvas: Color,
    val surface: Color,
    val raised: Color,
    val line: Color,
    val edge: Color,
    val ink: Color,
    val muted: Color,
    val primary: Color,
    val onPrimary: Color,
    val pending: Ink,
    val referred: Ink,
    val inProgress: Ink,
    val done: Ink,
    val notApplicable: Ink,
    val conflict: Ink,
)

private val LIGHT = Palette(
    canvas = Color(0xFFF5F7F5),
    surface = Color(0xFFFFFFFF),
    raised = Color(0xFFEEF2EF),
    line = Color(0xFFD3DAD5),
    edge = Color(0xFF7B8781),
    ink = Color(0xFF15201B),
    muted = Color(0xFF4A5750),
    primary = Color(0xFF0A6652),
    onPrimary = Color(0xFFFFFFFF),
    pending = Ink(Color(0xFF7A4F00), Color(0xFFFFF0D1)),
    referred = Ink(Color(0xFF1D4A9C), Color(0xFFE2ECFC)),
    inProgress = Ink(Color(0xFF5737A6), Color(0xFFECE6FB)),
    done = Ink(Color(0xFF17603A), Color(0xFFDCF2E4)),
    notApplicable = Ink(Color(0xFF464C52), Color(0xFFE6E9EB)),
    conflict = Ink(Color(0xFF9C1C18), Color(0xFFFCE3E1)),
)

private val DARK = Palette(
    canvas = Color(0xFF0F1513),
    surface = Color(0xFF161D1A),
    raised = Color(0xFF1F2824),
    line = Color(0xFF33403A),
    edge = Color(0xFF7F8F87),
    ink = Color(0xFFE6EDE9),
    muted = Color(0xFFA9B6AF),
    primary = Color(0xFF6FD3B5),
    onPrimary = Color(0xFF00382B),
    pending = Ink(Color(0xFFFFCF7A), Color(0xFF3A2A08)),
    referred = Ink(Color(0xFFA9C7FF), Color(0xFF12284F)),
    inProgress = Ink(Color(0xFFCDBDFF), Color(0xFF2C1F55)),
    done = Ink(Color(0xFF8FDBA9), Color(0xFF0F3520)),
    notApplicable = Ink(Color(0xFFC3C9CE), Color(0xFF2A3035)),
    conflict = Ink(Color(0xFFFFB4AB), Color(0xFF4F1210)),
)

private val LocalPalette = staticCompositionLocalOf { LIGHT }

/** The colours of the light that the app is in. */
val palette: Palette @Composable get() = LocalPalette.current

/** The app's look around its screens. [dark] is null while the platform decides. */
@Composable
fun ManzanaTheme(fonts: FontFamily, dark: Boolean? = null, content: @Composable () -> Unit) {
    val isDark = dark ?: isSystemInDarkTheme()
    val colours = if (isDark) DARK else LIGHT
    CompositionLocalProvider(LocalPalette provides colours) {
        MaterialTheme(
            colorScheme = colours.scheme(isDark),
            typography = typography(fonts),
            shapes = Shapes(
                extraSmall = RoundedCornerShape(6.dp),
                small = RoundedCornerShape(6.dp),
                medium = RoundedCornerShape(8.dp),
                large = RoundedCornerShape(8.dp),
            ),
            content = content,
        )
    }
}

private fun Palette.scheme(dark: Boolean) = (if (dark) darkColorScheme() else lightColorScheme()).copy(
    primary = primary,
    onPrimary = onPrimary,
    background = canvas,
    onBackground = ink,
    surface = surface,
    onSurface = ink,
    surfaceVariant = raised,
    onSurfaceVariant = muted,
    outline = edge,
    outlineVariant = line,
    error = conflict.text,
)

/** Body 16/24, choices 18/28, titles 24/32; figures of one width. */
private fun typography(fonts: FontFamily): Typography {
    fun style(size: TextUnit, height: TextUnit, weight: FontWeight = FontWeight.Normal) = TextStyle(
        fontFamily = fonts,
        fontWeight = weight,
        fontSize = size,
        lineHeight = height,
        fontFeatureSettings = "tnum",
        lineHeightStyle = LineHeightStyle(LineHeightStyle.Alignment.Center, LineHeightStyle.Trim.None),
    )
    return Typography(
        headlineSmall = style(24.sp, 32.sp, FontWeight.SemiBold),
        titleLarge = style(18.sp, 28.sp, FontWeight.SemiBold),
        titleMedium = style(18.sp, 26.sp, FontWeight.Medium),
        bodyLarge = style(16.sp, 24.sp),
        bodyMedium = style(14.sp, 20.sp),
        labelLarge = style(16.sp, 24.sp, FontWeight.SemiBold),
        labelMedium = style(14.sp, 20.sp, FontWeight.Medium),
    )
}
