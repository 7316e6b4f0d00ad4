import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ParseFailure } from '../../../src/sip/engine/message/message.ts'
import { checkMessage, parseMessage } from '../../../src/sip/engine/message/parser.ts'
import { torture } from '../../data/torture/torture.ts'
import { limits } from '../../support/limits.ts'

/** What the message room itself says; statuses other than 400 and 505 are answers of the layers above. */
function verdict(bytes: Buffer): 'accept' | 'drop' | number {
  try {
    const message = parseMessage(bytes, limits)
    const refusal = checkMessage(message)
    if (refusal === undefined) return 'accept'
    return message.isRequest ? refusal.status : 'drop'
  } catch (error) {
    assert.ok(error instanceof ParseFailure, String(error))
    return error.partial?.isRequest ? 400 : 'drop'
  }
}

for (const { name, section, bytes, expect, note } of torture) {
  test(`RFC 4475 section ${section} ${name}: ${note}`, () => {
    const above = typeof expect === 'number' && expect !== 400 && expect !== 505
    assert.equal(verdict(bytes), above ? 'accept' : expect)
  })
}

test('the whole of RFC 4475 is here', () => assert.equal(new Set(torture.map(({ name }) => name)).size, 49))
