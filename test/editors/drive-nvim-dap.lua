-- Drives nvim-dap as a person does. Asked by the variable STEAD_DRIVE, as JSON, with a source file, a line, the expression to look
-- at, and the command that `stead debug` prints for Neovim: sets a breakpoint, types that command, stops, reads the locals,
-- evaluates, steps, continues to the next stop and disconnects; prints what it saw as one line of JSON. Everything that waits has
-- a limit.

local dap = require('dap')
local asked = vim.fn.json_decode(vim.env.STEAD_DRIVE)
local wait_ms = 60000

local function await(what, holds)
  if not vim.wait(wait_ms, holds, 20) then
    error('waited too long for ' .. what)
  end
end

-- What the program answers to a request.
local function ask(session, command, arguments)
  local failure, answer
  session:request(command, arguments, function(err, body)
    failure, answer = err, body or {}
  end)
  await('the answer to ' .. command, function()
    return failure or answer
  end)
  return failure and error(command .. ': ' .. vim.inspect(failure)) or answer
end

-- Does something, and gives the frame that the editor then stands in.
local function stopped_after(deed)
  local session = dap.session()
  local before = session and session.current_frame
  deed()
  await('a stop', function()
    local now = dap.session() and dap.session().current_frame
    return now and now ~= before
  end)
  return dap.session().current_frame
end

local function locals_in(session, frame)
  local names = {}
  for index, scope in ipairs(ask(session, 'scopes', { frameId = frame.id }).scopes) do
    if index <= 2 then
      for _, variable in ipairs(ask(session, 'variables', { variablesReference = scope.variablesReference }).variables) do
        table.insert(names, variable.name)
      end
    end
  end
  return names
end

local function evaluated(session, frame)
  return ask(session, 'evaluate', { expression = asked.expression, frameId = frame.id, context = 'repl' }).result
end

local function drive()
  vim.cmd('edit ' .. vim.fn.fnameescape(asked.file))
  vim.api.nvim_win_set_cursor(0, { asked.line, 0 })
  dap.set_breakpoint()
  local first = stopped_after(function()
    vim.cmd(asked.command)
  end)
  local session = dap.session()
  local seen = { stopped = first.line, locals = locals_in(session, first), value = evaluated(session, first) }
  seen.stepped = stopped_after(dap.step_over).line
  local again = stopped_after(dap.continue)
  seen.again, seen.later = again.line, evaluated(session, again)
  dap.disconnect()
  await('the end', function()
    return dap.session() == nil
  end)
  return vim.fn.json_encode(seen)
end

local ok, said = pcall(drive)
local out = ok and io.stdout or io.stderr
out:write(tostring(said) .. '\n')
out:flush()
vim.cmd(ok and 'qall!' or 'cquit')
