/** `stead completion`: the few lines by which a shell asks `stead complete` what could come next. */
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { print } from '../terminal.ts'

/** What `stead complete` answers where a directory is meant: the shell knows those better. */
export const directoriesWord = ':directories'

const scripts: Readonly<Record<string, string>> = {
  bash: `_stead() {
  local IFS=$'\\n'
  local found=($("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  local last=$((\${#found[@]} - 1))
  if [ "$last" -ge 0 ] && [ "\${found[$last]}" = '${directoriesWord}' ]; then
    unset "found[$last]"
    found+=($(compgen -d -- "\${COMP_WORDS[COMP_CWORD]}"))
  fi
  COMPREPLY=("\${found[@]}")
}
complete -F _stead stead`,
  zsh: `#compdef stead
_stead() {
  local -a found
  found=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${found[-1]}" == '${directoriesWord}' ]]; then
    found[-1]=()
    _files -/
  fi
  compadd -- "\${(@)found:#}"
}
compdef _stead stead`,
  fish: `function __stead_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found ($words[1] complete -- $words[2..-1] 2>/dev/null)
  for word in $found
    if test "$word" = '${directoriesWord}'
      __fish_complete_directories (commandline -ct) ''
    else
      echo $word
    end
  end
end
complete -c stead -f -a '(__stead_complete)'`,
}

export const completionCommand: Command = {
  name: 'completion',
  usage: 'bash|zsh|fish',
  summary: 'completion for your shell: commands, options, apps and parts',
  help: `  bash   echo 'source <(stead completion bash)' >>~/.bashrc
  zsh    echo 'source <(stead completion zsh)' >>~/.zshrc    (after compinit)
  fish   stead completion fish >~/.config/fish/completions/stead.fish`,
  options: {},
  argumentsMax: 1,
  run({ arguments: [shell = ''] }) {
    const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined
    if (script === undefined)
      throw usage(
        `there is completion for ${Object.keys(scripts).join(', ')}, not for '${shell}'`,
        helpOf(completionCommand),
      )
    print(script)
    return Promise.resolve(exitCodes.ok)
  },
}
