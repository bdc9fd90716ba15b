/**
 * What is run inside a Python that is debugged: the hook that it starts with, which waits for a signal and does nothing else,
 * and what the signal makes it run. Pure: texts.
 *
 * Beside that, an error that nobody caught prints the values of its innermost functions.
 *
 * Invariants: until asked, nothing listens, and nothing is imported that a program does not have anyway. The door opens only into a directory that belongs to the
 * process's own user, or root, and that nobody else can write into. What listens then is a Unix socket in it, for one
 * connection.
 */
import { doorSignal } from '../door.ts'
import { redactedText, secretName } from '../redact.ts'

/** `sitecustomize.py`: Python imports it at every start, before the program. One that the program has of its own follows. */
export const pythonHook: string = `import signal


def _door(number, frame):
    import os
    import stat
    room = '/tmp/.stead-debug-%d' % os.getpid()
    try:
        facts = os.lstat(room)
        own = facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022
        if not own or not stat.S_ISDIR(facts.st_mode):
            return
        with open(room + '/boot.py') as file:
            source = file.read()
    except OSError:
        return
    exec(compile(source, room + '/boot.py', 'exec'), {'__name__': 'stead_debug', 'room': room})


try:
    if signal.getsignal(${doorSignal}) == signal.SIG_DFL:
        signal.signal(${doorSignal}, _door)
        signal.siginterrupt(${doorSignal}, False)
except (AttributeError, OSError, ValueError):
    pass


def _last_words(kind, trace):
    """The values of the innermost functions of an error that nobody caught. Runs no code of the program."""
    import re
    import sys
    if trace is None or sys.stderr is None or issubclass(kind, (SystemExit, KeyboardInterrupt)):
        return
    secret = re.compile(r'${secretName.source}', re.I)

    def shown(value, depth):
        form = type(value)
        if form in (int, float, complex, bool, type(None)):
            return repr(value)[:120]
        if form in (str, bytes):
            return repr(value[:120]) + ('...' if len(value) > 120 else '')
        if form in (list, tuple, set, frozenset) and depth < 3:
            return '[%s]' % ', '.join(shown(one, depth + 1) for one in list(value)[:8])
        if form is dict and depth < 3:
            return '{%s}' % ', '.join(named(key, one, depth + 1, ': ') for key, one in list(value.items())[:8])
        return '<%s>' % form.__name__

    def named(name, value, depth, sign):
        text = name if type(name) is str else shown(name, depth)
        return text[:120] + sign + ('${redactedText}' if secret.search(text) else shown(value, depth))

    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    lines = ['Values, of the innermost function first:']
    for one in reversed(frames[-5:]):
        code = one.tb_frame.f_code
        values = [(name, value) for name, value in list(one.tb_frame.f_locals.items()) if not name.startswith('__')]
        told = [named(name, value, 0, ' = ') for name, value in values if type(value).__name__ not in ('module', 'function', 'type')]
        lines.append('  %s, line %d: %s' % (code.co_name, one.tb_lineno, ', '.join(told[:20]) or 'none'))
    sys.stderr.write('\\n'.join(lines)[:8000] + '\\n')
    sys.stderr.flush()


def _listen():
    import sys
    before = sys.excepthook

    def uncaught(kind, value, trace):
        before(kind, value, trace)
        try:
            _last_words(kind, trace)
        except Exception:
            pass

    sys.excepthook = uncaught


def _follow():
    import os
    import sys
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.path[:]
    ours = sys.modules.pop('sitecustomize', None)
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) != here]
    try:
        import sitecustomize
    except ImportError:
        if ours is not None:
            sys.modules['sitecustomize'] = ours
    finally:
        sys.path[:] = path


try:
    _listen()
except Exception:
    pass
_follow()
`

/**
 * `enter.py`: what Python 3.14 is told to run where no hook waits. It runs among the program's own names, and leaves none there.
 */
export function pythonEntry(room: string): string {
  return `def _stead_enter(room):
    with open(room + '/boot.py') as file:
        source = file.read()
    exec(compile(source, room + '/boot.py', 'exec'), {'__name__': 'stead_debug', 'room': room})


try:
    _stead_enter('${room}')
finally:
    del _stead_enter
`
}

/**
 * `boot.py`: runs in a thread of the process, because it takes a while. Listens in the room for the one connection that the
 * debugger's protocol is then spoken on.
 */
export const pythonBoot: string = `import threading


def _say(text):
    import os
    with open(room + '/said.part', 'w') as file:
        file.write(text)
    os.rename(room + '/said.part', room + '/said')


def _clean(duplicate, held):
    import os
    import select
    import shutil
    import time
    if duplicate is not None:
        gone = select.poll()
        gone.register(duplicate, select.POLLRDHUP)
        gone.poll()
        os.close(duplicate)
        time.sleep(0.3)
    try:
        # Held open, its number is no other directory's: the next debugger's may lie there by now.
        if os.lstat(room).st_ino == os.fstat(held).st_ino:
            shutil.rmtree(room, ignore_errors=True)
    except OSError:
        pass
    os.close(held)


def _rest():
    """Until there is something to stop at, no thread is traced: that takes a fifth of its pace. From 3.12 on nothing has to be."""
    import sys
    import pydevd
    import pydevd_tracing
    from _pydevd_bundle.pydevd_additional_thread_info import set_additional_thread_info
    from _pydevd_bundle.pydevd_constants import PYDEVD_USE_SYS_MONITORING, STATE_SUSPEND
    debugger = pydevd.get_global_debugger()
    if debugger is None or PYDEVD_USE_SYS_MONITORING or debugger.frame_eval_func is not None:
        return
    changed, suspend = debugger.on_breakpoints_changed, debugger.set_suspend

    def leave(frame, event, arg):
        pydevd_tracing.SetTrace(None)

    def wake():
        if debugger.__dict__.pop('on_breakpoints_changed', None) is None:
            return
        debugger.__dict__.pop('set_suspend', None)
        debugger.patch_threads()
        # Frames before threads: in a frame that still had the other function, the thread would leave at once.
        debugger.set_tracing_for_untraced_contexts()
        pydevd_tracing.set_trace_to_threads(debugger.trace_dispatch)

    def stops():
        return (
            any(debugger.breakpoints.values()) or debugger.function_breakpoint_name_to_breakpoint
            or debugger.break_on_caught_exceptions or debugger.break_on_uncaught_exceptions
            or debugger.break_on_user_uncaught_exceptions
            or debugger.has_plugin_line_breaks or debugger.has_plugin_exception_breaks)

    def on_breakpoints_changed(removed=False):
        if stops():
            wake()
            changed(removed)

    def set_suspend(*args, **named):
        wake()
        return suspend(*args, **named)

    debugger.on_breakpoints_changed = on_breakpoints_changed
    debugger.set_suspend = set_suspend
    threading.settrace(None)
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_trace is not None:
                frame.f_trace = leave
            frame = frame.f_back
    pydevd_tracing.set_trace_to_threads(leave)
    # The client is served already: what it has wished meanwhile holds.
    if stops() or any(set_additional_thread_info(one).pydev_state == STATE_SUSPEND for one in threading.enumerate()):
        wake()


def _serve():
    import os
    import socket
    import sys
    import time
    duplicate = None
    held = os.open(room, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tools = room + '/tools'
        sys.path.insert(0, tools)
        os.environ['PYDEVD_DISABLE_FILE_VALIDATION'] = '1'
        try:
            from debugpy.server import api
            import pydevd
        finally:
            del os.environ['PYDEVD_DISABLE_FILE_VALIDATION']
            sys.path.remove(tools)
        # An earlier session may not have ended quite.
        end = time.monotonic() + 10
        while pydevd.get_global_debugger() is not None:
            if time.monotonic() > end:
                raise RuntimeError('another debugger is in it')
            time.sleep(0.02)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(room + '/s')
        listener.listen(1)
        listener.settimeout(60)
        _say('ready %d.%d.%d' % sys.version_info[:3])
        connection, _ = listener.accept()
        listener.close()
        os.unlink(room + '/s')
        connection.settimeout(None)
        duplicate = os.dup(connection.fileno())
        pydevd.start_client = lambda host, port: connection
        api._settrace(
            host='stead', port=1, suspend=False, patch_multiprocessing=False, wait_for_ready_to_run=False,
            dont_trace_start_patterns=(room,), dont_trace_end_patterns=('stead_debug',))
        _rest()
    except BaseException as error:
        try:
            _say('failed %s: %s' % (type(error).__name__, error))
        except OSError:
            pass
    _clean(duplicate, held)


_thread = threading.Thread(target=_serve, name='stead.debug', daemon=True)
_thread.pydev_do_not_trace = True
_thread.is_pydev_daemon_thread = True
_thread.start()
`
