// Text from outside as one line of plain text: nothing in it can steer a terminal, a mail header, or the direction in
// which what follows is shown. Escaping for XML and HTML is here too.

/** Control characters, halves of surrogate pairs, and the marks and isolates that turn the direction of text. */
const unwanted = /[\p{Cc}\p{Cs}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/gu

/** One line, trimmed, of at most `most` characters; what is longer ends in an ellipsis. */
export function plainText(text: string, most = Number.POSITIVE_INFINITY): string {
  const line = text.replace(/\s+/g, ' ').replace(unwanted, '').replace(/ {2,}/g, ' ').trim()
  if (line.length <= most) return line
  const characters = [...line]
  return characters.length <= most
    ? line
    : `${characters
        .slice(0, most - 1)
        .join('')
        .trimEnd()}…`
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Escaped for text and quoted attributes of XML and HTML. */
export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character])
}

/** The address if it is a whole http or https address, else null: no script, no file. */
export function webAddress(text: string): string | null {
  const trimmed = text.trim()
  if (!URL.canParse(trimmed)) return null
  const url = new URL(trimmed)
  return /^https?:$/.test(url.protocol) && url.hostname !== '' ? url.href : null
}
