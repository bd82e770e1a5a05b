/** The saved views of whoever sits here, kept in this browser. */
import type { Filters } from './filters';
import { remember, remembered } from './storage';
import { readViews, renamed, without, withView, written, type SavedView } from './views';

export class SavedViews {
  all = $state.raw<SavedView[]>([]);
  private user = 0;

  /** Another person sits down, or another window of this one changed them. */
  load(user = this.user): void {
    this.user = user;
    this.all = readViews(remembered(this.place));
  }

  add(name: string, filters: Filters): void {
    this.keep(withView(this.all, name, filters));
  }

  rename(before: string, after: string): void {
    this.keep(renamed(this.all, before, after));
  }

  remove(name: string): void {
    this.keep(without(this.all, name));
  }

  private get place(): string {
    return `views.${this.user}`;
  }

  private keep(views: SavedView[]): void {
    this.all = views;
    remember(this.place, written(views));
  }
}
