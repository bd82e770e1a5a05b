/** The bundled type: pixels must not depend on what is installed. The one file of the JVM's own here. */
package mx.manzana.app.look

import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.platform.Font

/** Inter, reduced to Latin letters; its licence is beside it. */
val Inter = FontFamily(
    Font("fonts/Inter-Regular.ttf", FontWeight.Normal),
    Font("fonts/Inter-Medium.ttf", FontWeight.Medium),
    Font("fonts/Inter-SemiBold.ttf", FontWeight.SemiBold),
)
