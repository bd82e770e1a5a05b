/** The console as a whole: who sits here, what the address bar says, and the stream that feeds list and detail. */
import { Api, ApiError } from './api';
import { filtersFrom, NO_FILTERS, sameFilters, writeFilters, type Filters } from './filters';
import { PetitionList } from './list.svelte';
import { LiveStream, type NetworkState } from './live';
import { OpenPetition } from './open.svelte';
import { prefs } from './preferences.svelte';
import type { Catalogs, Row, Session } from './wire';

export type View = 'petitions' | 'home';

/** Pause (ms) before arrivals are told to a screen reader: a burst is one sentence. */
const ANNOUNCE_AFTER_MS = 1_500;

export class Desk {
  readonly api = new Api();
  readonly list = new PetitionList(this.api);
  readonly open = new OpenPetition(this.api);

  session = $state.raw<Session | null>(null);
  /** Nothing is known until the relay has said whether there is a session. */
  started = $state(false);
  /** The session ended by itself, not by the person. */
  ended = $state(false);
  signOutFailed = $state(false);
  startError = $state.raw<unknown>(null);
  catalogs = $state.raw<Catalogs>({ neighborhoods: [], agencies: [] });
  view = $state<View>('petitions');
  network = $state<NetworkState>('connecting');
  /** Last moment (ms) at which the stream was known to be live. */
  freshAt = $state(Date.now());
  /** What the polite live region says. */
  said = $state('');

  private arrivals = 0;
  private announcing: ReturnType<typeof setTimeout> | undefined;
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
    const params = new URLSearchParams(location.search);
    this.view = params.get('vista') === 'inicio' ? 'home' : 'petitions';
    const id = params.get('peticion');
    if (!id) this.open.close();
    else if (id !== this.open.id) void this.open.open(id);
    const filters = filtersFrom(params);
    if (!sameFilters(filters, this.list.filters)) void this.loadAndListen(filters);
  }

  /** Goes to a list (or Inicio). Each typed letter replaces the address; each choice can be undone by "back". */
  go(view: View, filters: Filters = NO_FILTERS, how: 'push' | 'replace' = 'push'): void {
    this.writeAddress(view, filters, this.open.id, how);
    this.view = view;
    if (!sameFilters(filters, this.list.filters)) void this.loadAndListen(filters);
  }

  filter(change: Partial<Filters>, how: 'push' | 'replace' = 'push'): void {
    this.go('petitions', { ...this.list.filters, ...change }, how);
  }

  openPetition(id: string): void {
    this.writeAddress(this.view, this.list.filters, id, 'replace');
    void this.open.open(id);
  }

  closePetition(): void {
    this.writeAddress(this.view, this.list.filters, null, 'replace');
    this.open.close();
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

  private writeAddress(view: View, filters: Filters, id: string | null, how: 'push' | 'replace'): void {
    const params = new URLSearchParams();
    if (view === 'home') params.set('vista', 'inicio');
    writeFilters(filters, params);
    if (id) params.set('peticion', id);
    const query = params.toString();
    const address = query ? `?${query}` : location.pathname;
    if (how === 'push') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
  }

  private async enter(session: Session): Promise<void> {
    if (this.lastUser !== null && this.lastUser !== session.user.id) this.open.forget();
    this.lastUser = session.user.id;
    this.session = session;
    this.ended = false;
    const params = new URLSearchParams(location.search);
    this.view = params.get('vista') === 'inicio' ? 'home' : 'petitions';
    const id = params.get('peticion');
    if (id) void this.open.open(id);
    void this.loadCatalogs();
    await this.loadAndListen(filtersFrom(params));
  }

  private async loadCatalogs(): Promise<void> {
    try {
      this.catalogs = await this.api.catalogs();
    } catch {
      // The list works without the names in the filters; the next resync asks again.
    }
  }

  private async loadAndListen(filters: Filters): Promise<void> {
    const seq = await this.list.load(filters);
    // A load may have been overtaken by another filter: whichever answers first opens the stream.
    if (this.session && seq !== null && !this.stream.isOpen) this.stream.open(seq);
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
    this.session = null;
    this.ended = ended;
    this.list.clear();
    this.open.close();
    this.said = '';
  }
}
