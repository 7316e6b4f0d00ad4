import type { ReactNode } from 'react'
import { Icon, type IconName } from '../icons.tsx'

/** A button with a picture above its word; `on` while what it does is so. */
export function Tool({
  icon,
  on = false,
  onClick,
  children,
}: {
  icon: IconName
  on?: boolean
  onClick(): void
  children: ReactNode
}) {
  return (
    <button type="button" className="tool" aria-pressed={on} onClick={onClick}>
      <Icon name={icon} />
      <span>{children}</span>
    </button>
  )
}
