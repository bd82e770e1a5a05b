/** Inicio: the reports, what of them is not sent, and the network in words. */
package mx.manzana.app.home

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ExperimentalLayoutApi
import androidx.compose.foundation.layout.FlowRow
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.MaterialTheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.unit.dp
import mx.manzana.app.look.Card
import mx.manzana.app.look.Choice
import mx.manzana.app.look.CustodyLine
import mx.manzana.app.look.MainButton
import mx.manzana.app.look.Notice
import mx.manzana.app.look.Page
import mx.manzana.app.look.Sign
import mx.manzana.app.look.SignButton
import mx.manzana.app.look.SignMark
import mx.manzana.app.look.Signed
import mx.manzana.app.look.StatusBadge
import mx.manzana.app.look.Title
import mx.manzana.app.look.WordButton
import mx.manzana.app.look.Words
import mx.manzana.app.look.palette
import mx.manzana.app.strings.LocalStrings
import mx.manzana.core.Connection
import mx.manzana.core.Me
import mx.manzana.core.Petition
import mx.manzana.core.PhoneStatus
import mx.manzana.core.Problem

/** Which reports are listed. */
enum class Filter { ALL, OPEN, CLOSED }

/** What Inicio shows. */
data class HomeState(
    val me: Me,
    val status: PhoneStatus,
    val now: Long,
    /** Of the chosen filter; null before they were read for the first time. */
    val reports: List<Petition>? = null,
    val filter: Filter = Filter.ALL,
    val hasDraft: Boolean = false,
    val justSaved: Boolean = false,
    val problem: Problem? = null,
    val dark: Boolean = false,
)

/** What can be done on Inicio. */
sealed interface HomeAction {
    data class Open(val id: String) : HomeAction
    data class Choose(val filter: Filter) : HomeAction
    data object NewReport : HomeAction
    data object ToCorrect : HomeAction
    data object SwitchLanguage : HomeAction
    data object SwitchLight : HomeAction
}

@Composable
fun HomeScreen(state: HomeState, onAction: (HomeAction) -> Unit) {
    val words = LocalStrings.current
    Page(
        top = { Top(state, onAction) },
        bottom = {
            MainButton(
                if (state.hasDraft) words.goOnWithDraft else words.newReport,
                { onAction(HomeAction.NewReport) }, Modifier.testTag("new"), sign = Sign.PLUS,
            )
        },
    ) {
        LazyColumn(
            Modifier.testTag("reports"),
            contentPadding = PaddingValues(16.dp, 8.dp, 16.dp, 16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            item { Standing(state, onAction) }
            val reports = state.reports ?: return@LazyColumn
            if (state.filter != Filter.ALL || reports.isNotEmpty()) item { Filters(state.filter, onAction) }
            if (reports.isEmpty()) item { Nothing(state.filter) }
            items(reports, { it.id }) { report ->
                Report(report, state.me.center) { onAction(HomeAction.Open(report.id)) }
            }
        }
    }
}

@OptIn(ExperimentalLayoutApi::class)
@Composable
private fun Top(state: HomeState, onAction: (HomeAction) -> Unit) {
    val words = LocalStrings.current
    // Where the text is large, the switches go below the title.
    FlowRow(
        Modifier.fillMaxWidth().padding(16.dp, 8.dp, 8.dp, 4.dp),
        Arrangement.SpaceBetween,
    ) {
        Column(Modifier.padding(top = 8.dp)) {
            Title(words.homeTitle(state.me.role))
            Words(words.who(state.me.display, state.me.role), MaterialTheme.typography.bodyMedium, palette.muted)
        }
        Row {
            WordButton(words.other.name, words.switchLanguage, { onAction(HomeAction.SwitchLanguage) }, Modifier.testTag("language"))
            val (sign, name) = if (state.dark) Sign.SUN to words.lightTheme else Sign.MOON to words.darkTheme
            SignButton(sign, name, { onAction(HomeAction.SwitchLight) }, Modifier.testTag("light"))
        }
    }
}

/** How things stand: the network, what is unsent, what was not accepted. */
@Composable
private fun Standing(state: HomeState, onAction: (HomeAction) -> Unit) {
    val words = LocalStrings.current
    val status = state.status
    Column(verticalArrangement = Arrangement.spacedBy(12.dp)) {
        state.problem?.let { Notice(words.problem(it), palette.conflict, Sign.BARRED_CIRCLE) }
        status.recoveringSince?.let {
            Notice(words.recovering(state.me.center, it, state.now), palette.pending, Sign.WAITING, Modifier.testTag("recovering"))
        }
        if (state.justSaved) Notice(words.savedHere, palette.done, Sign.FULL_TICK, Modifier.testTag("saved"))
        Column(Modifier.testTag("standing"), Arrangement.spacedBy(4.dp)) {
            val online = status.connection == Connection.ONLINE
            Signed(if (online) Sign.SIGNAL else Sign.NO_SIGNAL, words.network(status.connection), palette.ink)
            when (status.unsent) {
                0L -> Signed(Sign.ONE_TICK, words.allSent)
                else -> Signed(Sign.WAITING, words.unsent(status.unsent, status.oldestUnsent, state.now), palette.ink)
            }
        }
        if (status.toCorrect > 0) {
            Card(Modifier.testTag("to_correct"), palette.conflict.ground, palette.conflict.text, { onAction(HomeAction.ToCorrect) }) {
                Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween, Alignment.CenterVertically) {
                    Words(words.waitingToCorrect(status.toCorrect), MaterialTheme.typography.labelLarge, palette.conflict.text)
                    SignMark(Sign.FORWARD, palette.conflict.text)
                }
            }
        }
    }
}

@OptIn(ExperimentalLayoutApi::class)
@Composable
private fun Filters(chosen: Filter, onAction: (HomeAction) -> Unit) {
    val words = LocalStrings.current
    val names = mapOf(Filter.ALL to words.all, Filter.OPEN to words.open, Filter.CLOSED to words.closed)
    FlowRow(horizontalArrangement = Arrangement.spacedBy(8.dp), verticalArrangement = Arrangement.spacedBy(8.dp)) {
        for ((filter, name) in names) {
            Choice(name, filter == chosen, { onAction(HomeAction.Choose(filter)) }, Modifier.testTag("filter_$filter"))
        }
    }
}

@Composable
private fun Nothing(filter: Filter) {
    val words = LocalStrings.current
    Words(
        if (filter == Filter.ALL) words.nothingYet else words.nothingHere,
        colour = palette.muted, modifier = Modifier.padding(vertical = 24.dp),
    )
}

@Composable
private fun Report(report: Petition, center: String, onOpen: () -> Unit) {
    Card(Modifier.testTag("report"), onClick = onOpen) {
        Words(report.title, MaterialTheme.typography.titleMedium)
        val place = listOfNotNull(report.location.ifBlank { null }, report.neighborhood)
        if (place.isNotEmpty()) Words(place.joinToString("\n"), MaterialTheme.typography.bodyMedium, palette.muted)
        StatusBadge(report)
        CustodyLine(report, center)
        Words(LocalStrings.current.folio(report), MaterialTheme.typography.bodyMedium, palette.muted)
    }
}
