/**
 * What is run inside a Ruby that is debugged: the hook that it starts with, which waits for a signal and does nothing else. Pure:
 * text.
 *
 * Invariant: until asked, nothing listens and nothing is loaded. The door opens only into a directory that belongs to the process's
 * own user, or root, and that nobody else can write into.
 */
import { doorSignal } from '../door.ts'

/** `door.rb`, which RUBYOPT names: Ruby loads it at every start, before the program. */
export const rubyHook: string = String.raw`begin
  before = trap(${doorSignal}) do
    begin
      room = "/tmp/.stead-debug-#{Process.pid}"
      facts = File.lstat(room)
      own = [0, Process.euid].include?(facts.uid) && (facts.mode & 0o022).zero? && facts.directory?
      if own
        source = File.read(room + '/boot.rb', encoding: 'UTF-8')
        Thread.new do
          begin
            Object.new.instance_eval(source, room + '/boot.rb').call(room)
          rescue Exception => error
            File.write(room + '/said', "failed #{error.class}: #{error.message}")
          end
        end
      end
    rescue SystemCallError
      nil
    end
  end
  trap(${doorSignal}, before) unless [nil, 'DEFAULT', 'SYSTEM_DEFAULT'].include?(before)
rescue ArgumentError
  nil
end
`
