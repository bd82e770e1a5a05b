/** Alta: a phone that nobody has let in yet asks for its invitation, once. */
package mx.manzana.app

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import kotlinx.coroutines.launch
import mx.manzana.app.look.Field
import mx.manzana.app.look.MainButton
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.Sign
import mx.manzana.app.look.Title
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.Phone
import mx.manzana.core.PhoneFailure
import mx.manzana.core.PhoneStatus
import mx.manzana.core.Problem

/** What Alta shows. */
data class EnrolState(val invitation: String = "", val busy: Boolean = false, val problem: Problem? = null)

@Composable
fun EnrolScreen(state: EnrolState, onWrite: (String) -> Unit, onEnrol: () -> Unit) {
    val words = LocalStrings.current
    Page(
        top = { Box(Modifier.padding(16.dp)) { Title(words.enrolTitle) } },
        bottom = { MainButton(words.enrol, onEnrol, Modifier.testTag("enrol"), !state.busy && state.invitation.isNotBlank()) },
    ) {
        Column(
            Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(16.dp, 0.dp, 16.dp, 24.dp),
            Arrangement.spacedBy(20.dp),
        ) {
            state.problem?.let { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) }
            Words(words.enrolHint, colour = palette.muted)
            Field(words.invitation, state.invitation, onWrite, "invitation", lines = 4)
        }
    }
}

@Composable
internal fun Enrol(phone: Phone, onEnrolled: (PhoneStatus) -> Unit) {
    val scope = rememberCoroutineScope()
    var state by remember { mutableStateOf(EnrolState()) }
    EnrolScreen(state, { state = EnrolState(it) }) {
        state = state.copy(busy = true, problem = null)
        scope.launch {
            try {
                phone.enrol(state.invitation.trim())
                onEnrolled(phone.status())
            } catch (failure: PhoneFailure) {
                state = state.copy(busy = false, problem = failure.problem)
            }
        }
    }
}
