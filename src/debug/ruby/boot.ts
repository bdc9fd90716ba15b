/**
 * What the signal makes a Ruby run, in a thread of its own: a small debugger that speaks the Debug Adapter Protocol on a Unix
 * socket in the room, for one connection. It is written for this, because the one that comes with Ruby ends the program when its
 * client vanishes at a breakpoint. Pure: text.
 *
 * Invariants: only the thread that comes to a breakpoint stands still. A breakpoint costs where it stands and nowhere else; one in
 * code outside of any method makes Ruby look at each line, and that is said. When the connection ends, however it does, breakpoints
 * are out, the program runs and the room is gone. Values are described without calling anything of the program.
 */
import { secretName } from '../redact.ts'

const elementsMax = 100
const logpointHitsMax = 1000

/** `boot.rb`: its value is what is called with the room. */
export const rubyBoot: string = String.raw`
require 'socket'
require 'json'

debugger = Class.new do
  def initialize(room)
    @room = room
    @own = Thread.current
    @own.name = 'stead.debug'
    @write = Mutex.new
    @sequence = 0
    @threads = {}
    @stopped = {}
    @opened = []
    @breakpoints = {}
    @last = 0
    @step = nil
    @paths = {}
    @start = File.expand_path($0)
  end

  def serve
    # Held open, its number is no other directory's: the next debugger's may lie there by now.
    @held = Dir.open(@room)
    identity = File.lstat(@room).ino
    listener = UNIXServer.new(@room + '/s')
    say "ready #{RUBY_VERSION}"
    return unless IO.select([listener], nil, nil, 60)
    @socket = listener.accept
    listener.close
    while (request = read)
      answer(request)
      break if request['command'] == 'disconnect'
    end
  rescue IOError, SystemCallError
    nil
  rescue Exception => error
    say "failed #{error.class}: #{error.message}"
  ensure
    release
    @socket.close if @socket
    clean(identity)
  end

  private

  def say(text)
    File.write(@room + '/said.part', text)
    File.rename(@room + '/said.part', @room + '/said')
  rescue SystemCallError
    nil
  end

  def clean(identity)
    return unless identity && File.lstat(@room).ino == identity
    %w[boot.rb said said.part s].each { |name| File.unlink("#{@room}/#{name}") if File.exist?("#{@room}/#{name}") }
    Dir.rmdir(@room)
  rescue SystemCallError
    nil
  ensure
    @held.close if @held
  end

  def read
    head = @socket.gets("\r\n\r\n")
    return nil unless head
    JSON.parse(@socket.read(Integer(head[/Content-Length: (\d+)/i, 1])).force_encoding('UTF-8'))
  end

  def send_message(message)
    @write.synchronize do
      text = JSON.generate(message.merge(seq: @sequence += 1))
      @socket.write("Content-Length: #{text.bytesize}\r\n\r\n#{text}")
    end
  end

  def event(name, body)
    send_message(type: 'event', event: name, body: body)
  rescue IOError, SystemCallError
    nil
  end

  def answer(request)
    head = { type: 'response', request_seq: request['seq'], command: request['command'] }
    name = 'on_' + request['command'].to_s
    raise ArgumentError, "there is no '#{request['command']}' here" unless respond_to?(name, true)
    body = send(name, request['arguments'] || {})
    send_message(head.merge(success: true, body: body || {}))
    event('initialized', {}) if request['command'] == 'attach'
    if request['command'] == 'attach' && request['arguments']['stopOnEntry']
      event('stopped', reason: 'entry', threadId: id_of(Thread.main), allThreadsStopped: true)
    end
  rescue IOError, SystemCallError
    raise
  rescue Exception => error
    send_message(head.merge(success: false, message: plain(error.message)))
  end

  def on_initialize(_)
    { supportsConfigurationDoneRequest: true, supportsConditionalBreakpoints: true, supportsLogPoints: true,
      supportsEvaluateForHovers: true, supportsDelayedStackTraceLoading: true }
  end

  def on_attach(_)
    nil
  end

  def on_configurationDone(_)
    nil
  end

  def on_disconnect(_)
    nil
  end

  def on_loadedSources(args)
    name = File.basename(args['path'].to_s)
    files = [@start, *$LOADED_FEATURES].select { |file| File.basename(file) == name }
    { sources: files.uniq.map { |file| { name: name, path: real(file) } } }
  end

  def on_setBreakpoints(args)
    path = args['source']['path']
    (@breakpoints.delete(path) || []).each { |one| one[:traces].each(&:disable) }
    lines = statements(path)
    set = args['breakpoints'].map do |wanted|
      line = lines.find { |each| each >= wanted['line'] }
      line.nil? ? { at: wanted, traces: [] } : place(path, line, wanted)
    end
    @breakpoints[path] = set
    shown = set.map do |one|
      next { id: one[:id], verified: true, line: one[:line] } if one[:line]
      { verified: false, message: "there is no statement at line #{one[:at]['line']} or after it" }
    end
    { breakpoints: shown }
  end

  def place(path, line, wanted)
    one = { id: @last += 1, line: line, condition: wanted['condition'], log: wanted['logMessage'], hits: 0, traces: [] }
    code_of(path).each do |code|
      trace = TracePoint.new(:line) { |point| passed(point, one) }
      begin
        trace.enable(target: code, target_line: line)
        one[:traces] << trace
      rescue ArgumentError
        nil
      end
    end
    return one unless one[:traces].empty?
    note "line #{line} is in code outside of any method: each line of the program is looked at while it has a breakpoint"
    trace = TracePoint.new(:line) { |point| passed(point, one) if point.lineno == line && real(point.path) == path }
    trace.enable
    one[:traces] << trace
    one
  end

  # Lines of a file that have a statement. Nothing of it is run.
  def statements(path)
    lines = []
    collect = lambda do |code|
      lines.concat(code.trace_points.select { |_, kind| kind == :line }.map(&:first))
      code.each_child(&collect)
    end
    collect.call(RubyVM::InstructionSequence.compile_file(path))
    lines.uniq.sort
  rescue SystemCallError, SyntaxError
    []
  end

  # Methods, and blocks that are kept, of a file.
  def code_of(path)
    found = []
    here = ->(code) { code.source_location && real(code.source_location[0]) == path }
    ObjectSpace.each_object(Module) do |owner|
      names = instance_names.bind(owner).call(false) + private_names.bind(owner).call(false)
      names.each do |name|
        code = one_method.bind(owner).call(name)
        found << code if code.owner == owner && here.(code)
      rescue NameError
        nil
      end
    end
    ObjectSpace.each_object(Proc) { |block| found << block if here.(block) }
    found
  end

  def instance_names
    Module.instance_method(:instance_methods)
  end

  def private_names
    Module.instance_method(:private_instance_methods)
  end

  def one_method
    Module.instance_method(:instance_method)
  end

  def real(path)
    @paths[path] ||= begin
      File.realpath(path == $0 ? @start : path)
    rescue SystemCallError
      path
    end
  end

  def passed(point, one)
    return if Thread.current == @own
    scope = point.binding
    one[:hits] += 1
    begin
      return if one[:condition] && !scope.eval(one[:condition])
      return log(one, scope) if one[:log]
    rescue Exception => error
      note plain(error.message)
      return if one[:log]
    end
    stand('breakpoint', scope, hitBreakpointIds: [one[:id]])
  end

  def log(one, scope)
    return if one[:hits] > ${logpointHitsMax}
    text = one[:log].gsub(/\{([^{}]+)\}/) do
      expression = $1
      next '[redacted]' if secret?(expression[/(\w+)\W*\z/, 1])
      value = scope.eval(expression)
      String === value ? value : describe(value, 2)
    end
    note text
    note 'this logpoint has been passed ${logpointHitsMax} times and is spent' if one[:hits] == ${logpointHitsMax}
  end

  def note(text)
    event('output', category: 'console', output: text + "\n")
  end

  # The thread of the program waits here, and evaluates what it is asked to, until it is let go on.
  def stand(reason, scope, more = {})
    thread = Thread.current
    id = id_of(thread)
    return if @released
    @step.disable if @step
    state = { scope: scope, frames: frames_here, jobs: Queue.new }
    @stopped[id] = state
    event('stopped', { reason: reason, threadId: id, allThreadsStopped: false }.merge(more))
    while (job = state[:jobs].pop)
      job.call
    end
  ensure
    @stopped.delete(id) if state
  end

  def frames_here
    caller_locations.reject { |place| place.path == __FILE__ }
  end

  def release
    @released = true
    @step.disable if @step
    @breakpoints.each_value { |set| set.each { |one| one[:traces].each(&:disable) } }
    go_on
  end

  def go_on
    @opened = []
    @stopped.values.each { |state| state[:jobs].push(nil) }
  end

  def on_continue(_)
    go_on
    { allThreadsContinued: true }
  end

  def on_next(args)
    step(args) { |depth, from| depth <= from }
  end

  def on_stepIn(args)
    step(args) { true }
  end

  def on_stepOut(args)
    step(args) { |depth, from| depth < from }
  end

  def step(args)
    state = @stopped[args['threadId']]
    raise 'the thread is not stopped' unless state
    thread = @threads.key(args['threadId'])
    from = state[:frames].size
    @step = TracePoint.new(:line) do |point|
      next if Thread.current != thread || point.path.start_with?('<internal:') || point.path == __FILE__
      stand('step', point.binding) if yield(frames_here.size, from)
    end
    @step.enable
    go_on
    nil
  end

  def on_pause(args)
    thread = @threads.key(args['threadId']) || Thread.main
    @step.disable if @step
    @step = TracePoint.new(:line) { |point| stand('pause', point.binding) if Thread.current == thread && point.path != __FILE__ }
    @step.enable
    nil
  end

  def id_of(thread)
    @threads[thread] ||= @threads.size + 1
  end

  def on_threads(_)
    all = Thread.list - [@own]
    { threads: all.map { |thread| { id: id_of(thread), name: name_of(thread) } } }
  end

  def name_of(thread)
    return 'main' if thread == Thread.main
    thread.name || "thread #{id_of(thread)}"
  end

  def on_stackTrace(args)
    id = args['threadId']
    thread = @threads.key(id)
    raise 'there is no such thread' unless thread
    places = @stopped[id] ? @stopped[id][:frames] : (thread.backtrace_locations || [])
    shown = places.each_with_index.map do |place, index|
      file = place.absolute_path || place.path
      { id: id * 10_000 + index, name: place.label, line: place.lineno, column: 0,
        source: { name: File.basename(file), path: file.start_with?('/') ? real(file) : file } }
    end
    from = args['startFrame'] || 0
    levels = args['levels'].to_i.zero? ? shown.size : args['levels']
    { stackFrames: shown[from, levels] || [], totalFrames: shown.size }
  end

  # Ruby hands out the variables of the innermost frame alone.
  def state_of(frame)
    id, index = frame.to_i.divmod(10_000)
    state = @stopped[id]
    raise 'the thread is not stopped' unless state
    raise 'Ruby shows the variables of the innermost frame only' unless index.zero?
    state
  end

  def on_scopes(args)
    scope = state_of(args['frameId'])[:scope]
    { scopes: [{ name: 'Locals', presentationHint: 'locals', variablesReference: open(scope), expensive: false }] }
  rescue RuntimeError
    { scopes: [] }
  end

  def open(value)
    @opened << value
    @opened.size
  end

  def on_variables(args)
    value = @opened[args['variablesReference'] - 1]
    raise 'that is no more: the program went on' if value.nil?
    { variables: inside(value).map { |name, one| shown(name, one) } }
  end

  def inside(value)
    case value
    when Binding
      [['self', value.receiver]] + value.local_variables.map { |name| [name.to_s, value.local_variable_get(name)] }
    when Array then value.first(${elementsMax}).each_with_index.map { |one, index| ["[#{index}]", one] }
    when Hash then value.first(${elementsMax}).map { |key, one| [describe(key, 0), one] }
    else fields(value)
    end
  end

  def fields(value)
    names = Kernel.instance_method(:instance_variables).bind(value).call
    names.map { |name| [name.to_s, Kernel.instance_method(:instance_variable_get).bind(value).call(name)] }
  rescue TypeError
    []
  end

  def shown(name, value)
    held = Array === value || Hash === value ? !value.empty? : !simple?(value) && !fields(value).empty?
    { name: name, value: secret?(name) ? '[redacted]' : describe(value, 1), type: class_of(value).to_s,
      variablesReference: held && !secret?(name) ? open(value) : 0 }
  end

  def on_evaluate(args)
    expression = args['expression']
    if args['context'] == 'hover' && expression !~ /\A[@$]*[a-z_]\w*\z/i
      raise 'what the mouse rests on is looked up only where it is a name'
    end
    state = state_of(args['frameId'])
    answered = Queue.new
    state[:jobs].push(lambda do
      answered.push([:ok, state[:scope].eval(expression)])
    rescue Exception => error
      answered.push([:failed, error])
    end)
    kind, value = answered.pop
    raise value if kind == :failed
    { result: describe(value, 2), type: class_of(value).to_s, variablesReference: simple?(value) ? 0 : open(value) }
  end

  def simple?(value)
    case value
    when nil, true, false, Numeric, String, Symbol, Module, Range then true
    else false
    end
  end

  def class_of(value)
    Kernel.instance_method(:class).bind(value).call
  end

  def describe(value, depth)
    case value
    when nil, true, false, Numeric, Symbol, Module then value.inspect
    when String then value.length > 1000 ? value[0, 1000].inspect + '…' : value.inspect
    when Array
      return "[#{value.size}]" if depth.zero?
      "[#{value.first(10).map { |one| describe(one, depth - 1) }.join(', ')}#{', …' if value.size > 10}]"
    when Hash
      return "{#{value.size}}" if depth.zero?
      pairs = value.first(10).map { |key, one| "#{describe(key, 0)} => #{secret?(key) ? '[redacted]' : describe(one, depth - 1)}" }
      "{#{pairs.join(', ')}#{', …' if value.size > 10}}"
    else
      name = "#<#{class_of(value)}"
      return name + '>' if depth.zero?
      name + fields(value).first(8).map { |key, one| " #{key}=#{secret?(key) ? '[redacted]' : describe(one, depth - 1)}" }.join + '>'
    end
  end

  def secret?(name)
    /${secretName.source}/i.match?(name.to_s)
  end

  def plain(text)
    text.to_s.encode('UTF-8', invalid: :replace, undef: :replace).lines.first.to_s.strip
  end
end

->(room) { debugger.new(room).serve }
`
