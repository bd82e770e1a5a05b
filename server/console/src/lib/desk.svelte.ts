/** The console as a whole: who sits here, what the address bar says, and the stream that feeds list and detail. */
import { Api, ApiError } from './api';
import { sameFilters, type Filters } from './filters';
import { PetitionList } from './list.svelte';
import { LiveStream, RETRY_MAX_MS, RETRY_MIN_MS, type NetworkState } from './live';
import { OpenPetition } from './open.svelte';
import { addressOf, LIST, placeFrom, type Place, type View } from './place';
import { prefs } from './preferences.svelte';
import { foundWords } from './prose';
import { Report } from './report.svelte';
import { SavedViews } from './views.svelte';
import type { Catalogs, Row, Session } from './wire';

/** What lies over the desk: the keys, the palette, or the name of a saved view (null: of a new one). */
export type Dialog = { kind: 'keys' } | { kind: 'palette' } | { kind: 'view'; name: string | null };

/** Pause (ms) before arrivals are told to a screen reader: a burst is one sentence. */
const ANNOUNCE_AFTER_MS = 1_500;

export class Desk {
  readonly api = new Api();
  readonly list = new PetitionList(this.api);
  readonly open = new OpenPetition(this.api);
  readonly report = new Report(this.api);
  readonly views = new SavedViews();

  session = $state.raw<Session | null>(null);
  /** Nothing is known until the relay has said whether there is a session. */
  started = $state(false);
  /** The session ended by itself, not by the person. */
  ended = $state(false);
  signOutFailed = $state(false);
  startError = $state.raw<unknown>(null);
  catalogs = $state.raw<Catalogs>({ neighborhoods: [], agencies: [] });
  view = $state<View>('petitions');
  dialog = $state.raw<Dialog | null>(null);
  network = $state<NetworkState>('connecting');
  /** Last moment (ms) at which the stream was known to be live. */
  freshAt = $state(Date.now());
  /** What the polite live region says. */
  said = $state('');

  private arrivals = 0;
  private announcing: ReturnType<typeof setTimeout> | undefined;
  /** The list is asked for again after this pause (ms), for without a list there is no stream to come back by itself. */
  private pause = RETRY_MIN_MS;
  private again: ReturnType<typeof setTimeout> | undefined;
  private lastUser: number | null = null;
  private readonly stream = new LiveStream({
    row: (row) => this.received(row),
    resync: () => void this.resync(),
    state: (state) => this.networkIs(state),
    refused: () => void this.checkSession(),
  });

  constructor() {
    this.api.onSignedOut = () => this.leave(true);
    this.open.onDetail = (detail) => this.list.know(detail);
  }

  async start(): Promise<void> {
    this.startError = null;
    try {
      await this.enter(await this.api.session());
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) this.startError = error;
    }
    this.started = true;
  }

  async signIn(user: string, password: string): Promise<void> {
    await this.enter(await this.api.signIn(user, password));
  }

  /** Ends the session; says so when the relay could not be told, for then it has not ended. */
  async signOut(): Promise<void> {
    this.signOutFailed = false;
    try {
      await this.api.signOut();
    } catch (error) {
      this.signOutFailed = !(error instanceof ApiError && error.status === 401);
      if (this.signOutFailed) return;
    }
    this.leave(false);
    this.open.forget();
  }

  /** The address bar changed, by a link or by going back. */
  readAddress(): void {
    this.show(placeFrom(new URLSearchParams(location.search)));
  }

  /** Goes to a place. Each typed letter replaces the address; each choice can be undone by "back". */
  go(place: Place, how: 'push' | 'replace' = 'push'): void {
    this.writeAddress(place, how);
    this.show(place);
  }

  /** Narrows or widens the list; the petition beside it stays open. */
  filter(change: Partial<Filters>, how: 'push' | 'replace' = 'push'): void {
    this.go({ ...LIST, filters: { ...this.list.filters, ...change }, petition: this.open.id }, how);
  }

  openPetition(id: string): void {
    this.go({ ...LIST, filters: this.list.filters, petition: id }, 'replace');
  }

  closePetition(): void {
    this.go({ ...LIST, filters: this.list.filters }, 'replace');
  }

  networkChanged(): void {
    if (!this.session) return;
    if (this.stream.isOpen) this.stream.networkChanged();
    else if (navigator.onLine) void this.resync();
  }

  say(sentence: string): void {
    this.said = sentence;
  }

  retryList(): void {
    void this.resync();
  }

  private show(place: Place): void {
    this.view = place.view;
    this.showBeside(place);
    if (place.view === 'petitions' && !sameFilters(place.filters, this.list.filters)) void this.find(place.filters);
  }

  /** All of a place but the list. */
  private showBeside({ view, petition, range }: Place): void {
    if (!petition) this.open.close();
    else if (petition !== this.open.id) void this.open.open(petition);
    if (view === 'agencies') void this.report.load(range);
  }

  private writeAddress(place: Place, how: 'push' | 'replace'): void {
    if (how === 'push') history.pushState(null, '', addressOf(place));
    else history.replaceState(null, '', addressOf(place));
  }

  private async enter(session: Session): Promise<void> {
    if (this.lastUser !== null && this.lastUser !== session.user.id) this.open.forget();
    this.lastUser = session.user.id;
    this.session = session;
    this.ended = false;
    this.views.load(session.user.id);
    const place = placeFrom(new URLSearchParams(location.search));
    this.view = place.view;
    this.showBeside(place);
    void this.loadCatalogs();
    await this.loadAndListen(place.filters);
  }

  /** Other filters: when their rows are here, a screen reader hears how many. */
  private async find(filters: Filters): Promise<void> {
    await this.loadAndListen(filters);
    if (this.list.phase === 'ready' && this.list.filters === filters) this.say(foundWords(this.list.state, prefs.t));
  }

  private async loadCatalogs(): Promise<void> {
    try {
      this.catalogs = await this.api.catalogs();
    } catch {
      // The list works without the names in the filters; the next resync asks again.
    }
  }

  private async loadAndListen(filters: Filters): Promise<void> {
    clearTimeout(this.again);
    const seq = await this.list.load(filters);
    if (!this.session || this.stream.isOpen) return;
    // A load may have been overtaken by another filter: whichever answers first opens the stream.
    if (seq !== null) {
      this.pause = RETRY_MIN_MS;
      this.stream.open(seq);
    } else if (this.list.phase === 'failed') this.tryLater();
  }

  private tryLater(): void {
    this.networkIs(navigator.onLine ? 'reconnecting' : 'offline');
    clearTimeout(this.again);
    this.again = setTimeout(() => void this.loadAndListen(this.list.filters), this.pause);
    this.pause = Math.min(this.pause * 2, RETRY_MAX_MS);
  }

  private async resync(): Promise<void> {
    this.stream.close();
    this.network = 'connecting';
    if (this.catalogs.agencies.length === 0) void this.loadCatalogs();
    await this.loadAndListen(this.list.filters);
    if (this.open.id) await this.open.open(this.open.id);
  }

  private received(row: Row): void {
    const before = this.list.state;
    const own = this.open.isActing(row.id);
    this.list.receive(row, own);
    const after = this.list.state;
    this.freshAt = Date.now();
    this.announceArrivals(after.rows.length + after.waiting.length - before.rows.length - before.waiting.length);
    void this.open.tellOf(row).then((news) => news && this.say(prefs.t.detail.changed));
  }

  private announceArrivals(more: number): void {
    if (more <= 0) return;
    this.arrivals += more;
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      this.say(prefs.t.list.arrived(this.arrivals));
      this.arrivals = 0;
    }, ANNOUNCE_AFTER_MS);
  }

  private networkIs(state: NetworkState): void {
    const was = this.network;
    if (was === 'live') this.freshAt = Date.now();
    this.network = state;
    if (state === 'live' && this.list.phase === 'failed') void this.loadAndListen(this.list.filters);
    if (state === was || was === 'connecting') return;
    this.say(state === 'live' ? prefs.t.network.back : `${prefs.t.network[state]} ${prefs.t.network.hint[state]}`);
  }

  /** A refused stream may mean that the session ended; any 401 leads to the sign-in. */
  private async checkSession(): Promise<void> {
    try {
      this.session = await this.api.session();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.leave(true);
    }
  }

  /** Back to the sign-in. Half-typed forms stay in memory for the same person. */
  private leave(ended: boolean): void {
    this.stream.close();
    clearTimeout(this.again);
    this.session = null;
    this.ended = ended;
    this.list.clear();
    this.open.close();
    this.report.clear();
    this.dialog = null;
    this.said = '';
  }
}
