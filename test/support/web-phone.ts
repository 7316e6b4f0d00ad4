import type { Locator, Page } from 'playwright-core'
import type { TestBrowser, TestPage } from './browser.ts'
import type { TestServer } from './server.ts'

// Our own web phone, used as a person does: by what is written on it.

export interface WebPhone extends TestPage {
  readonly name: string
  button(name: string | RegExp): Locator
  /** Types a name and calls it. */
  call(whom: string): Promise<void>
  answer(): Promise<void>
  /** Resolves when this text is on the page, and fails after 15 s. */
  shows(text: string | RegExp): Promise<void>
  /** Resolves when no call is on the page any more. */
  idle(): Promise<void>
}

export function webUrl(server: TestServer, path = '/'): string {
  // A page may use a microphone when it is of this host or came sealed.
  const { address, ports } = server
  return address === '127.0.0.1' ? `http://127.0.0.1:${ports.http}${path}` : `https://${address}:${ports.https}${path}`
}

/** Opens the phone and signs in; `tone` Hz is its microphone. */
export async function openWebPhone(
  browser: TestBrowser,
  server: TestServer,
  who: { name: string; password: string; tone: number },
): Promise<WebPhone> {
  const opened = await browser.open(webUrl(server), who.tone)
  await opened.page.getByLabel('Name').fill(who.name)
  await opened.page.getByLabel('Password').fill(who.password)
  await opened.page.getByRole('button', { name: 'Sign in' }).click()
  return webPhone(opened, who.name)
}

/** A page of the phone that is signed in already. */
export async function webPhone(opened: TestPage, name: string): Promise<WebPhone> {
  const { page } = opened
  const button = (text: string | RegExp) => page.getByRole('button', { name: text, exact: typeof text === 'string' })
  await isOnline(page)
  return {
    ...opened,
    name,
    button,
    async call(whom) {
      await page.getByRole('searchbox').fill(whom)
      await button('Call').click()
    },
    answer: () => button('Answer').click({ timeout: 15_000 }),
    shows: text => page.getByText(text).first().waitFor({ timeout: 15_000 }),
    idle: () => page.getByRole('complementary', { name: 'Calls' }).waitFor({ state: 'detached', timeout: 15_000 }),
  }
}

export function isOnline(page: Page): Promise<void> {
  return page.getByText('Online').waitFor({ timeout: 15_000 })
}
