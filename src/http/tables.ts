import { html, type Markup } from './markup.ts'

/** A section of the status page with a table, which the page's script keeps fresh; `more` stands between title and table. */
export function table(
  id: string,
  title: string,
  head: string[],
  rows: (string | Markup)[][],
  empty: string,
  more?: Markup,
): Markup {
  const body =
    rows.length === 0
      ? html`<p>${empty}</p>`
      : html`<div class="wide" role="region" aria-labelledby="${id}-title" tabindex="0"><table>
<thead><tr>${head.map(text => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>${rows.map(row => html`<tr>${row.map(cell => html`<td>${cell}</td>`)}</tr>`)}</tbody>
</table></div>`
  return html`<section id="${id}" data-live><h2 id="${id}-title">${title}</h2>${more}${body}</section>`
}

/** Shown in the reader's own time zone by the script; in UTC without it. */
export function time(iso: string): Markup {
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`
}
