// The options that commands which mail have in common; mailSettings.ts checks them.
import { type Command, Option } from 'commander'

export interface MailOptions {
  readonly smtp?: string
  readonly from?: string
  readonly data?: string
  readonly list?: string
}

export function addMailOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--smtp <url>', 'server that mails, such as smtps://user:password@mail.example.org').env(
        'MAMBAKIT_SMTP',
      ),
    )
    .option('--from <address>', 'sender of the mails')
    .option('--data <folder>', 'where subscribers are kept; your data folder by default')
    .option('--list <file>', 'your own list of papers, as `papers add` keeps it')
}
