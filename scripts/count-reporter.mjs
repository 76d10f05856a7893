// A node:test reporter that writes a JSON line for every test that passed, failed or was skipped. Suites and parents are
// not counted beside their tests, except where they fail by themselves.

export default async function* count(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const { name, file, skip, todo, details } = data
    const reason = skip ?? todo
    const failed = type === 'test:fail' && reason === undefined
    if (failed && details.error?.failureType === 'subtestsFailed') continue
    if (!failed && details.type === 'suite' && reason === undefined) continue
    const outcome = failed ? 'failed' : reason === undefined ? 'passed' : 'skipped'
    yield `${JSON.stringify({ outcome, name, file, reason: typeof reason === 'string' ? reason : undefined })}\n`
  }
}
