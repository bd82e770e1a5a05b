/** Links of the page itself: their addresses are real ones, so a new tab stays the person's choice. */
import type { Desk } from './desk.svelte';
import type { Place } from './place';

export function follow(event: MouseEvent, desk: Desk, place: Place): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  desk.go(place);
}
