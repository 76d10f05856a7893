// The pages that links in mails open. A link only shows a button: mail scanners open every link, and must not confirm or
// unsubscribe anyone.
import { escapeMarkup } from '../../papers/plainText.js'

/** A page that says something. */
export function notePage(heading: string, text: string): string {
  return page(heading, `<p>${escapeMarkup(text)}</p>\n<p><a href="./">To the papers</a></p>`)
}

/** A page with one button, which posts `token` to the address of the page. */
export function buttonPage(heading: string, text: string, button: string, token: string): string {
  const form = `<form method="post"><input type="hidden" name="token" value="${escapeMarkup(token)}"><button>${escapeMarkup(button)}</button></form>`
  return page(heading, `<p>${escapeMarkup(text)}</p>\n${form}`)
}

/** The style sheet of these pages; served as a file of its own, because the policy allows no style in a page. */
export const linkPageStyle = `:root{color-scheme:light dark}
body{max-width:34rem;margin:4rem auto;padding:0 1.25rem;font:1.0625rem/1.6 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25}
button{font:inherit;padding:.5rem 1rem;cursor:pointer}
`

function page(heading: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escapeMarkup(heading)} · mambakit</title>
<link rel="icon" href="./icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="./link.css">
</head>
<body>
<h1>${escapeMarkup(heading)}</h1>
${body}
</body>
</html>
`
}
